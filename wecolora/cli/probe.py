"""``wecolora probe``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

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
from wecolora.evaluation.options import ProbeProtocol, SetFormat

if TYPE_CHECKING:
    from wecolora import ProbeResult

# Printed one a line up to here; a set of a thousand labels has --json.
_MOST_CLASSES = 40


def probe(
    model: Annotated[str, typer.Argument(help="timm name, timm folder, or .safetensors file.")],
    train: Annotated[Path, typer.Option(help="Labelled images: a set's folder, or a CSV of path,label.")],
    test: Annotated[
        Path | None,
        typer.Option(help="Likewise; without it the set's own test part, or a fifth of --train."),
    ] = None,
    protocol: Annotated[
        ProbeProtocol, typer.Option(help="logistic: quick; lars: the paper's authors'; ridge: quickest; knn.")
    ] = ProbeProtocol.LOGISTIC,
    set_format: Annotated[
        SetFormat, typer.Option("--format", help="How the set lies on disk; auto sees for itself.")
    ] = SetFormat.AUTO,
    knn: Annotated[bool, typer.Option("--knn", help="Report a k-NN score as well.")] = False,
    architecture: Architecture = None,
    image_size: ImageSize = None,
    mean: Mean = None,
    std: Std = None,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(help="Of the splits, the training's order and the interval.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Judge the frozen features of MODEL by a classifier fitted on them."""
    protocols = list(dict.fromkeys([protocol, ProbeProtocol.KNN] if knn else [protocol]))
    with errors_become_exit_codes():
        spec = wecolora.TeacherSpec(
            model, architecture, image_size, mean=triple("mean", mean), std=triple("std", std)
        )
        evaluation = wecolora.evaluate(
            {"model": spec}, train, test,
            protocols=protocols, format=set_format, device=device, seed=seed,
        )  # fmt: skip
    results = evaluation.results["model"]
    first = results[protocol.value]
    if as_json:
        more = {"knn": results[ProbeProtocol.KNN.value].to_dict()} if knn else {}
        print_json(first.to_dict() | more)
        return
    table = Table(*_columns(first), title=f"{first.test_images:,} test images, {first.classes:,} classes")
    for result in results.values():
        table.add_row(*_row(result))
    Console().print(table)
    for line in _areas(first):
        typer.echo(line)


def _columns(result: "ProbeResult") -> list[str]:
    score = "accuracy" if result.accuracy is not None else "mean AUC"
    return ["protocol", score, "95 % interval", *(["top-5"] if result.top5 is not None else []), "fitted on"]


def _row(result: "ProbeResult") -> list[str]:
    score = result.accuracy if result.accuracy is not None else result.mean_auc
    low, high = result.confidence_interval or (float("nan"), float("nan"))
    return [
        result.protocol,
        f"{score:.1%}",
        f"{low:.1%} to {high:.1%}",
        *([f"{result.top5:.1%}"] if result.top5 is not None else []),
        f"{result.train_images:,} images",
    ]


def _areas(result: "ProbeResult") -> Iterator[str]:
    areas = sorted((result.auc_per_class or {}).items())
    for name, area in areas[:_MOST_CLASSES]:
        yield f"  AUC {area:.1%}  {name}"
    if len(areas) > _MOST_CLASSES:
        yield f"  and {len(areas) - _MOST_CLASSES} more: see --json"
    if result.left_out_classes:
        yield f"  no AUC, test images all alike: {', '.join(result.left_out_classes)}"
