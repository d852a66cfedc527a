"""``wecolora inspect``."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import wecolora
from wecolora.cli.common import (
    Architecture,
    AsJson,
    DeviceOption,
    ImageSize,
    cost_rows,
    errors_become_exit_codes,
    numbers,
    print_json,
)


def inspect_command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="timm name, timm folder, or .safetensors file; one or several."
        ),
    ],
    architecture: Architecture = None,
    image_size: ImageSize = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(help="Also measure images a second and peak memory at these batch sizes: 1,8,32."),
    ] = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Show parameters, trainable parameters, GMACs, latency and file size of each MODEL, side by side.

    --json prints one object for one MODEL, and {"models": [...]} for several.
    """
    with errors_become_exit_codes():
        sizes = numbers("batch-sizes", batch_sizes, int) or ()
        specs = [wecolora.TeacherSpec(model, architecture, image_size) for model in models]
        costs = wecolora.inspect_models(specs, device, batch_sizes=sizes)
    facts = [cost.to_dict() for cost in costs]
    if as_json:
        print_json(facts[0] if len(facts) == 1 else {"models": facts})
        return
    table = Table("", *_names(models, [cost.architecture for cost in costs]))
    for row in cost_rows(facts):
        table.add_row(*row)
    Console().print(table)


def _names(models: list[str], architectures: list[str]) -> list[str]:
    """Architectures, and where each comes from when there are several to tell apart."""
    if len(models) == 1:
        return architectures
    return [f"{name}\n{model}" for name, model in zip(architectures, models, strict=True)]
