"""``wecolora probe``."""

from pathlib import Path
from typing import Annotated

import typer

import wecolora
from wecolora.cli.common import (
    Architecture,
    AsJson,
    DeviceOption,
    ImageSize,
    Mean,
    Std,
    errors_become_exit_codes,
    print_json,
    triple,
)


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
    with errors_become_exit_codes():
        spec = wecolora.TeacherSpec(
            model, architecture, image_size, mean=triple("mean", mean), std=triple("std", std)
        )
        result = wecolora.linear_probe(spec, train, test, device=device, seed=seed)
    if as_json:
        print_json(result.to_dict())
        return
    top5 = "" if result.top5 is None else f", top-5 {result.top5:.1%}"
    typer.echo(
        f"accuracy {result.accuracy:.1%}{top5} on {result.test_images} images of {result.classes} classes "
        f"(fitted on {result.train_images})"
    )
