"""What the commands share: options, exit codes, signals, progress bar, tables."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from wecolora import errors

messages = Console(stderr=True)
T = TypeVar("T", int, float)

Teacher = Annotated[
    str, typer.Option(help="timm name, timm folder, or .safetensors file (with --architecture).")
]
Architecture = Annotated[str | None, typer.Option(help="timm architecture of a .safetensors file.")]
ImageSize = Annotated[
    int | None, typer.Option(help="Side of the input in pixels; the model's own by default.")
]
Mean = Annotated[
    str | None, typer.Option(help="Mean of R, G, B that a bare file was trained with: 0.5,0.5,0.5.")
]
Std = Annotated[str | None, typer.Option(help="Standard deviation of R, G, B, likewise.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def errors_become_exit_codes() -> Iterator[None]:
    """The one place where the engine's errors become exit codes."""
    try:
        yield
    except errors.Interrupted as error:
        messages.print(f"[yellow]Stopped after step {error.step}.[/] Add --resume to go on from there.")
        raise SystemExit(130) from error
    except errors.WecoloraError as error:
        failed_on_the_way = (
            errors.TeacherUnavailable, errors.OutOfMemory, errors.NonFiniteLoss, errors.ExportFailed,
            errors.TokenShapeMismatch,
        )  # fmt: skip
        fail(str(error), 1 if isinstance(error, failed_on_the_way) else 2)


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on standard error, and exit."""
    messages.print("[bold red]Error:[/]", end=" ")
    messages.print(message, markup=False, highlight=False)
    raise SystemExit(code)


@contextmanager
def stop_on_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the run at the next step, with a checkpoint; a second one ends it at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, before[each])
        messages.print("[yellow]Stopping after this step …[/]")

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A progress bar on standard error; yields the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = ProgressBar(*columns, console=messages, transient=not messages.is_terminal)
    tasks: dict[str, Any] = {}

    def show(progress: Any) -> None:
        if not tasks:
            bar.start()
        if progress.phase not in tasks:
            tasks[progress.phase] = bar.add_task(
                progress.phase, total=progress.total_steps or None, detail=""
            )
        detail = "" if progress.loss is None else f"loss {progress.loss:.4f}"
        bar.update(
            tasks[progress.phase], completed=progress.step, total=progress.total_steps or None, detail=detail
        )

    try:
        yield show
    finally:
        if tasks:
            bar.stop()


def numbers(option: str, text: str | None, kind: type[T]) -> tuple[T, ...] | None:
    """Numbers with commas between them."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        fail(f"--{option} is {text!r}: it must be numbers with commas between them.", 2)


def triple(option: str, text: str | None) -> tuple[float, ...] | None:
    """Three numbers with commas between them, as means and standard deviations are given."""
    return numbers(option, text, float)


def print_json(content: dict[str, object]) -> None:
    """Print for programs."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def cost_rows(costs: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Rows of a table of `ModelCost.to_dict`, a column a model."""
    yield ["blocks", *(str(cost["depth"]) for cost in costs)]
    yield ["parameters", *(f"{cost['parameters']:,}" for cost in costs)]
    yield ["trainable parameters", *(f"{cost['trainable_parameters']:,}" for cost in costs)]
    yield ["GMACs", *(f"{cost['gmacs']:.3f}" for cost in costs)]
    yield [f"latency on {costs[0]['device']}, ms", *(f"{cost['latency_ms']:.1f}" for cost in costs)]
    yield ["file, MB", *(f"{cost['file_size_bytes'] / 1e6:.1f}" for cost in costs)]
    for number, batch in enumerate(costs[0].get("batches") or ()):
        size = batch["batch_size"]
        rows = [cost["batches"][number] for cost in costs]
        yield [f"images a second, batch of {size}", *(_known(row["images_per_second"], 1) for row in rows)]
        yield [f"peak memory, MB, batch of {size}", *(_known(row["peak_memory_bytes"], 1e-6) for row in rows)]


def _known(value: float | None, factor: float) -> str:
    """A number, or a dash where it could not be measured."""
    return "–" if value is None else f"{value * factor:,.1f}"
