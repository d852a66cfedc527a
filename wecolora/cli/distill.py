"""``wecolora distill``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

import wecolora
from wecolora import errors
from wecolora.cli.common import (
    Architecture,
    AsJson,
    DeviceOption,
    ImageSize,
    Mean,
    Std,
    Teacher,
    cost_rows,
    errors_become_exit_codes,
    numbers,
    print_json,
    progress_bar,
    stop_on_signals,
    triple,
)
from wecolora.config import DistillConfig, explain, load_line


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
        "layers": numbers("layers", layers, int),
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
    with errors_become_exit_codes(), stop_on_signals() as stopped, progress_bar() as show:
        try:
            config = DistillConfig.model_validate(options)
        except ValidationError as error:
            raise explain(error) from error

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
