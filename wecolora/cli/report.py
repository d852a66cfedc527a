"""``wecolora report``."""

from pathlib import Path
from typing import Annotated

import typer

import wecolora
from wecolora.cli.common import (
    Architecture,
    AsJson,
    DeviceOption,
    Mean,
    Std,
    errors_become_exit_codes,
    numbers,
    print_json,
    triple,
)


def report_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run: --out of 'wecolora distill'.")],
    teacher: Annotated[
        str | None,
        typer.Option(
            help="The run's teacher, to show beside the student: timm name, folder or .safetensors file."
        ),
    ] = None,
    architecture: Architecture = None,
    mean: Mean = None,
    std: Std = None,
    train: Annotated[
        Path | None, typer.Option(help="Labelled images to fit probes on; adds accuracy and latent spaces.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Labelled images to test on; alone it adds the latent spaces.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="An image to draw attention over; may be given up to 16 times."),
    ] = None,
    batch_sizes: Annotated[
        str, typer.Option(help="To measure throughput and memory at, with --teacher; empty leaves it out.")
    ] = "1,8,32",
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(help="Of splits and of t-SNE.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write RUN/report.html, one file that shows the whole run, and RUN/pictures/ with each picture and its data."""
    with errors_become_exit_codes():
        spec = None
        if teacher is not None:
            spec = wecolora.TeacherSpec(
                teacher, architecture, mean=triple("mean", mean), std=triple("std", std)
            )
        written = wecolora.write_report_page(
            run,
            wecolora.PageInputs(
                teacher=spec,
                train=train,
                test=test,
                images=tuple(images or ()),
                batch_sizes=numbers("batch-sizes", batch_sizes or None, int) or (),
                device=device,
                seed=seed,
            ),
        )
    if as_json:
        print_json(
            {
                "page": str(written.page),
                "files": [str(path) for path in written.files],
                "left_out": [{"part": each.part, "remedy": each.remedy} for each in written.left_out],
            }
        )
        return
    for path in (written.page, *written.files):
        typer.echo(path)
    for each in written.left_out:
        typer.echo(f"Not on the page: {each.part}: {each.remedy}")
