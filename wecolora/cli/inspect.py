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
    print_json,
)


def inspect_command(
    model: Annotated[str, typer.Argument(help="timm name, timm folder, or .safetensors file.")],
    architecture: Architecture = None,
    image_size: ImageSize = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Show parameters, trainable parameters, GMACs, latency and file size of MODEL."""
    with errors_become_exit_codes():
        cost = wecolora.inspect_model(wecolora.TeacherSpec(model, architecture, image_size), device)
    if as_json:
        print_json(cost.to_dict())
        return
    table = Table("", cost.architecture)
    for row in cost_rows([cost.to_dict()]):
        table.add_row(*row)
    Console().print(table)
