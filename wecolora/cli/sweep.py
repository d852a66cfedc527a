"""``wecolora sweep``. Takes every option of ``wecolora distill`` that is a setting, one value or several."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table

import wecolora
from wecolora import errors
from wecolora.cli.common import (
    Architecture,
    AsJson,
    Mean,
    Std,
    Teacher,
    errors_become_exit_codes,
    messages,
    print_json,
    progress_bar,
    stop_on_signals,
    triple,
)
from wecolora.cli.distill import distill
from wecolora.config import OPTION_NAMES, DistillConfig, allowed_values

_PANEL = "Options of distill; several values with commas between them are all run"


def _takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every field of `DistillConfig`, with the help that ``distill`` gives it."""
    helps = {
        name: next((more.help for more in get_args(each.annotation) if hasattr(more, "help")), None)
        for name, each in inspect.signature(distill).parameters.items()
    }
    own = [
        each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD
    ]
    added = []
    for field in DistillConfig.model_fields:
        name = OPTION_NAMES.get(field, field)
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=helps.get(name) or allowed_values(field),
            rich_help_panel=_PANEL,
            show_default=False,
            metavar="VALUES",
        )
        added.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
            )
        )
    signature = inspect.Signature([*own, *added])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return command


@_takes_settings
def sweep_command(
    images: Annotated[
        Path, typer.Argument(help="Folder of unlabelled images, searched with its subfolders.")
    ],
    teacher: Teacher,
    out: Annotated[Path, typer.Option(help="Folder for a folder a run, sweep.json and sweep.csv.")],
    train: Annotated[
        Path | None, typer.Option(help="Labelled images: every student and the teacher are probed on them.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Likewise; the set's own test part without it.")] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Also write ranks.png: accuracy, or loss, against the rank.")
    ] = False,
    architecture: Architecture = None,
    mean: Mean = None,
    std: Std = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the finished runs in --out and go on from there.")
    ] = False,
    as_json: AsJson = False,
    **settings: str | None,
) -> None:
    """Distil TEACHER once for every combination of settings: --r 2,3 --k 64,128 makes four students.

    All settings are checked before the first run starts.
    """
    with errors_become_exit_codes(), stop_on_signals() as stopped, progress_bar() as show:

        def on_progress(progress: "wecolora.Progress") -> None:
            show(progress)
            if stopped:
                raise errors.Interrupted(progress.step)

        def on_run(run: Any, number: int, total: int) -> None:
            messages.print(f"Run {number} of {total}: {run.name}", highlight=False)

        result = wecolora.run_sweep(
            wecolora.TeacherSpec(teacher, architecture, mean=triple("mean", mean), std=triple("std", std)),
            images,
            out,
            _parse(settings),
            train=train,
            test=test,
            resume=resume,
            on_run=on_run,
            on_progress=on_progress,
        )
        if plot:
            wecolora.write_rank_picture(out)
    if as_json:
        print_json({"teacher": result.teacher, "rows": [row.to_dict() for row in result.rows]})
    else:
        _print_table(result)


def _parse(settings: dict[str, str | None]) -> dict[str, object]:
    """By field: one value, or a list of those that vary. A field that is a list itself takes its commas."""
    fields = {OPTION_NAMES.get(field, field): field for field in DistillConfig.model_fields}
    parsed: dict[str, object] = {}
    for name, text in settings.items():
        if text is None:
            continue
        parts = [part.strip() for part in text.split(",")]
        field = fields[name]
        if "tuple" in str(DistillConfig.model_fields[field].annotation):
            parsed[field] = tuple(parts)
        else:
            parsed[field] = parts[0] if len(parts) == 1 else parts
    return parsed


def _print_table(result: Any) -> None:
    rows = result.rows
    varied = list(rows[0].varied) if rows else []
    table = Table("run", "r", "k", *varied, "trainable", "GMACs", "loss", "accuracy", title="sweep")
    for row in rows:
        score = row.accuracy if row.accuracy is not None else row.mean_auc
        table.add_row(
            row.run,
            str(row.r),
            str(row.k),
            *(row.varied[name] for name in varied),
            f"{row.trainable_parameters:,}",
            f"{row.gmacs:.3f}",
            "–" if row.final_loss is None else f"{row.final_loss:.4f}",
            "–" if score is None else f"{score:.1%}",
        )
    console = Console()
    console.print(table)
    teacher = result.teacher or {}
    if teacher.get("accuracy") is not None:
        console.print(f"The teacher's accuracy is {teacher['accuracy']:.1%}.", highlight=False)
    console.print(f"Tables: {result.folder / 'sweep.csv'}, {result.folder / 'sweep.json'}", soft_wrap=True)
