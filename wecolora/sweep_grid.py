"""The runs of a sweep before any of them starts: every combination of settings, checked and named."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from wecolora.blocks import plan_blocks
from wecolora.combinations import check_combinations
from wecolora.config import OPTION_NAMES, DistillConfig, explain
from wecolora.errors import OutOfRange
from wecolora.layouts import Layout
from wecolora.lora import check_rank


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep, before it starts.

    Attributes:
        name: of its folder: ``r2-k64``, and the other options that vary.
        config: its settings.
        lora_rank: k that its settings ask for.
        varied: the other options that vary, by the names that users know.
    """

    name: str
    config: DistillConfig
    lora_rank: int
    varied: dict[str, str]


def combine(options: Mapping[str, object]) -> list[DistillConfig]:
    """The settings of every combination, in the order in which the options are given, the last varying fastest.

    Raises:
        OutOfRange: a value is not in its range, or does not fit another; all combinations are looked at.
    """
    values = {
        name: list(dict.fromkeys(value)) if isinstance(value, list) else [value]
        for name, value in options.items()
    }
    configs = []
    for chosen in itertools.product(*values.values()):
        try:
            config = DistillConfig.model_validate(dict(zip(values, chosen, strict=True)))
        except ValidationError as error:
            raise explain(error) from error
        check_combinations(config)
        configs.append(config)
    if len({config.image_size for config in configs}) > 1:
        raise OutOfRange("image_size", options["image_size"], "one size", "a sweep loads its teacher once")
    return configs


def plan_runs(configs: Sequence[DistillConfig], layout: Layout) -> list[PlannedRun]:
    """Name the runs, and check what depends on the teacher.

    Raises:
        OutOfRange: r, k or the list of blocks of any run does not fit the teacher.
    """
    varying = [
        field
        for field in DistillConfig.model_fields
        if field not in ("compression_factor", "lora_rank", "recipe")
        and len({str(getattr(config, field)) for config in configs}) > 1
    ]
    if len({config.recipe for config in configs}) > 1:
        # What a recipe brings varies with it and needs no name of its own.
        varying = ["recipe", *(field for field in varying if field == "method")]
    runs = []
    for config in configs:
        plan_blocks(layout, config)
        rank = config.rank(layout.max_lora_rank)
        check_rank(layout, rank)
        varied = {OPTION_NAMES.get(field, field): _text(getattr(config, field)) for field in varying}
        parts = [
            f"r{config.compression_factor}",
            f"k{rank}",
            *(f"{name}-{value}" for name, value in varied.items()),
        ]
        runs.append(PlannedRun(re.sub(r"[^\w.-]+", "-", "-".join(parts)), config, rank, varied))
    if len({run.name for run in runs}) < len(runs):
        raise OutOfRange(
            "options", "a sweep", "of runs that differ by their names", "two of them would share a folder"
        )
    return runs


def _text(value: object) -> str:
    return ".".join(map(str, value)) if isinstance(value, tuple) else str(value)
