"""Command line: ``wecolora distill | probe | inspect``.

Exit codes: 0 done; 1 something failed on the way (the message says what); 2 the input is wrong (the message names the
option and its range); 130 stopped by Ctrl-C with a checkpoint.
"""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

import wecolora
from wecolora import errors
from wecolora.config import DistillConfig, explain, load_line

_HELP = """Distil a vision transformer into a student of a fraction of its depth, on unlabelled images.

Exit codes: 0 done, 1 failed on the way, 2 wrong input (the option and its range are named), 130 stopped by Ctrl-C with
a checkpoint.
"""
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP)
_messages = Console(stderr=True)
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


@app.command()
def distill(
    images: Annotated[
        Path, typer.Argument(help="Folder of unlabelled images, searched with its subfolders.")
    ],
    teacher: Teacher,
    out: Annotated[
        Path, typer.Option(help="Folder for student/, adapter.safetensors, metrics.jsonl, report.json.")
    ],
    r: Annotated[int, typer.Option("--r", help="Depth reduction: the student has floor(L / r) blocks.")] = 2,
    k: Annotated[
        int | None, typer.Option("--k", help="LoRA rank; 128, or the most that the teacher admits.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = 10,
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate; 1e-3 for r up to 2, else 1e-4.", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images in a micro-batch; up to 128, by the number of images.")
    ] = None,
    accumulate: Annotated[int, typer.Option(help="Micro-batches in an optimiser step.")] = 1,
    image_size: ImageSize = None,
    policy: Annotated[
        str, typer.Option(help="Which block of every r is kept: last-of-group or first-of-group.")
    ] = "last-of-group",
    layers: Annotated[
        str | None, typer.Option(help="Explicit blocks to keep, from 0: 1,3,5. Overrides --r and --policy.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of subset, order, augmentation and initialisation.")] = 0,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    few_shot_ratio: Annotated[float, typer.Option(help="Share of the images that is used, in (0, 1].")] = 1.0,
    warmup_epochs: Annotated[
        float | None, typer.Option(help="Linear warm-up; a fifth of the epochs.")
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = 0.05,
    loss_place: Annotated[
        str, typer.Option(help="Compare tokens before-norm or after-norm (the final norm).")
    ] = "before-norm",
    architecture: Architecture = None,
    mean: Mean = None,
    std: Std = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    checkpoint_seconds: Annotated[float, typer.Option(help="Between checkpoints.", min=0)] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Distil TEACHER into a student of a fraction of its depth, on unlabelled IMAGES."""
    options: dict[str, object] = {
        "compression_factor": r,
        "lora_rank": k,
        "policy": policy,
        "layers": _numbers("layers", layers, int),
        "epochs": epochs,
        "learning_rate": lr,
        "warmup_epochs": warmup_epochs,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "image_size": image_size,
        "seed": seed,
        "device": device,
        "precision": precision,
        "few_shot_ratio": few_shot_ratio,
        "loss_place": loss_place,
    }
    with _errors_become_exit_codes(), _stop_on_signals() as stopped, _bar() as show:
        try:
            config = DistillConfig.model_validate(options)
        except ValidationError as error:
            raise explain(error) from error

        def on_progress(progress: "wecolora.Progress") -> None:
            show(progress)
            if stopped:
                raise errors.Interrupted(progress.step)

        result = wecolora.distill(
            wecolora.TeacherSpec(teacher, architecture, mean=_triple("mean", mean), std=_triple("std", std)),
            images,
            out=out,
            config=config,
            resume=resume,
            on_progress=on_progress,
            checkpoint_seconds=checkpoint_seconds,
        )
    if as_json:
        _print_json(result.report)
    else:
        _print_report(result.report, out)


@app.command()
def probe(
    model: Annotated[str, typer.Argument(help="timm name, timm folder, or .safetensors file.")],
    train: Annotated[Path, typer.Option(help="Labelled images, one folder a class.")],
    test: Annotated[
        Path | None, typer.Option(help="Likewise; a fifth of --train is held out without it.")
    ] = None,
    architecture: Architecture = None,
    image_size: ImageSize = None,
    mean: Mean = None,
    std: Std = None,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit a linear classifier on the frozen features of MODEL and test it."""
    with _errors_become_exit_codes():
        spec = wecolora.TeacherSpec(
            model, architecture, image_size, mean=_triple("mean", mean), std=_triple("std", std)
        )
        result = wecolora.linear_probe(spec, train, test, device=device, seed=seed)
    if as_json:
        _print_json(result.to_dict())
        return
    top5 = "" if result.top5 is None else f", top-5 {result.top5:.1%}"
    typer.echo(
        f"accuracy {result.accuracy:.1%}{top5} on {result.test_images} images of {result.classes} classes "
        f"(fitted on {result.train_images})"
    )


@app.command(name="inspect")
def inspect_command(
    model: Annotated[str, typer.Argument(help="timm name, timm folder, or .safetensors file.")],
    architecture: Architecture = None,
    image_size: ImageSize = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Show parameters, trainable parameters, GMACs, latency and file size of MODEL."""
    with _errors_become_exit_codes():
        cost = wecolora.inspect_model(wecolora.TeacherSpec(model, architecture, image_size), device)
    if as_json:
        _print_json(cost.to_dict())
        return
    table = Table("", cost.architecture)
    for row in _cost_rows([cost.to_dict()]):
        table.add_row(*row)
    Console().print(table)


def main() -> None:
    """Entry point."""
    app()


@contextmanager
def _errors_become_exit_codes() -> Iterator[None]:
    """The one place where the engine's errors become exit codes."""
    try:
        yield
    except errors.Interrupted as error:
        _messages.print(f"[yellow]Stopped after step {error.step}.[/] Add --resume to go on from there.")
        raise SystemExit(130) from error
    except errors.WecoloraError as error:
        failed_on_the_way = (
            errors.TeacherUnavailable, errors.OutOfMemory, errors.DivergedLoss, errors.ExportFailed,
            errors.TokenShapeMismatch,
        )  # fmt: skip
        _fail(str(error), 1 if isinstance(error, failed_on_the_way) else 2)


def _fail(message: str, code: int) -> NoReturn:
    _messages.print("[bold red]Error:[/]", end=" ")
    _messages.print(message, markup=False, highlight=False)
    raise SystemExit(code)


@contextmanager
def _stop_on_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the run at the next step, with a checkpoint; a second one ends it at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, before[each])
        _messages.print("[yellow]Stopping after this step …[/]")

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _bar() -> Iterator[Any]:
    """A progress bar on standard error; yields the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = ProgressBar(*columns, console=_messages, transient=not _messages.is_terminal)
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


def _numbers(option: str, text: str | None, kind: type[T]) -> tuple[T, ...] | None:
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        _fail(f"--{option} is {text!r}: it must be numbers with commas between them.", 2)


def _triple(option: str, text: str | None) -> tuple[float, ...] | None:
    return _numbers(option, text, float)


def _print_json(content: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def _print_report(report: dict[str, Any], out: Path) -> None:
    table = Table("", "teacher", "student", title="teacher against student")
    for row in _cost_rows([report["teacher"], report["student"]]):
        table.add_row(*row)
    console = Console()
    console.print(table)
    training = report["training"]
    console.print(
        f"{training['optimiser_steps']} optimiser steps on {report['images']['used']} images; loss "
        f"{training['initial_loss']:.4f} → {training['final_loss']:.4f}"
    )
    for skipped in report["images"]["skipped"]:
        console.print(f"skipped {skipped['path']}: {skipped['reason']}", markup=False)
    console.print(f"The student lies in {out / 'student'}. Load it with", soft_wrap=True)
    console.print(f"    {load_line(str(out / 'student'))}", soft_wrap=True, markup=False)


def _cost_rows(costs: list[dict[str, Any]]) -> Iterator[list[str]]:
    yield ["blocks", *(str(cost["depth"]) for cost in costs)]
    yield ["parameters", *(f"{cost['parameters']:,}" for cost in costs)]
    yield ["trainable parameters", *(f"{cost['trainable_parameters']:,}" for cost in costs)]
    yield ["GMACs", *(f"{cost['gmacs']:.3f}" for cost in costs)]
    yield [f"latency on {costs[0]['device']}, ms", *(f"{cost['latency_ms']:.1f}" for cost in costs)]
    yield ["file, MB", *(f"{cost['file_size_bytes'] / 1e6:.1f}" for cost in costs)]
