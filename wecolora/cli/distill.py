"""``wecolora distill``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

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
    cost_rows,
    errors_become_exit_codes,
    print_json,
    progress_bar,
    stop_on_signals,
    triple,
)
from wecolora.cli.options import make_config, takes_settings
from wecolora.config import OPTION_NAMES


@takes_settings
def distill(
    images: Annotated[
        Path, typer.Argument(help="Folder of unlabelled images, searched with its subfolders.")
    ],
    teacher: Teacher,
    out: Annotated[
        Path, typer.Option(help="Folder for student/, adapter.safetensors, metrics.jsonl, report.json.")
    ],
    architecture: Architecture = None,
    mean: Mean = None,
    std: Std = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    checkpoint_seconds: Annotated[float, typer.Option(help="Between checkpoints.", min=0)] = 60.0,
    as_json: AsJson = False,
    **settings: object,
) -> None:
    """Distil TEACHER into a student of a fraction of its depth, on unlabelled IMAGES."""
    with errors_become_exit_codes(), stop_on_signals() as stopped, progress_bar() as show:
        config = make_config(settings)

        def on_progress(progress: "wecolora.Progress") -> None:
            show(progress)
            if stopped:
                raise errors.Interrupted(progress.step)

        result = wecolora.distill(
            wecolora.TeacherSpec(teacher, architecture, mean=triple("mean", mean), std=triple("std", std)),
            images,
            out=out,
            config=config,
            resume=resume,
            on_progress=on_progress,
            checkpoint_seconds=checkpoint_seconds,
        )
    if as_json:
        print_json(result.report)
    else:
        _print_report(result.report, out)


def _print_report(report: dict[str, Any], out: Path) -> None:
    table = Table("", "teacher", "student", title="teacher against student")
    for row in cost_rows([report["teacher"], report["student"]]):
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    for line in _account(report):
        console.print(line, markup=False, soft_wrap=True)
    student = out / "student"
    line = f"The student lies in {student}: {report['student']['delivered']}. Load it with"
    console.print(line, markup=False, soft_wrap=True)
    # The report's own line is for a reader who stands in the output folder.
    load = report["load"].replace('student"', f'{student}"')
    console.print(f"    {load}", soft_wrap=True, markup=False)


def _account(report: dict[str, Any]) -> Iterator[str]:
    """What was done, a line each: method and recipe, blocks, closed form, training, skipped images."""
    recipe, training = report["recipe"], report["training"]
    changed = ", ".join(
        f"{OPTION_NAMES.get(name, name)} {_plain(report['config'][name])}" for name in recipe["changed"]
    )
    yield f"Method {report['method']}, recipe {recipe['name']}" + (f" with {changed}." if changed else ".")
    yield f"Blocks kept, from 0: {', '.join(map(str, report['student']['blocks']))}."
    for note in report["notes"]:
        yield f"Note: {note}."
    if report["refit"]:
        last = report["refit"][-1]
        yield (
            f"Closed form: {len(report['refit'])} blocks refitted; L1 from the teacher after the last block "
            f"{last['l1_before']:.4f} → {last['l1_after']:.4f}."
        )
    if training["initial_loss"] is None:
        yield f"No training; {report['images']['used']} images."
    else:
        yield (
            f"{training['optimiser_steps']} optimiser steps on {report['images']['used']} images; loss "
            f"{training['initial_loss']:.4f} → {training['final_loss']:.4f}."
        )
    for skipped in report["images"]["skipped"]:
        yield f"skipped {skipped['path']}: {skipped['reason']}"


def _plain(value: object) -> object:
    return "unset" if value is None else value
