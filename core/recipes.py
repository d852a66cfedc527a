"""What a job's unset options come to, and which options do not go together: the engine's own rules, from a file.

``core/engine_options.json`` is written by `tools.make_engine_options`, so that the API answers without the engine.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.errors import FieldProblem
from core.options import JobOptions, TrainingOptions

FILE = Path(__file__).with_name("engine_options.json")


class Requirement(BaseModel):
    """`field` may be set (to one of `values`, if there are any) only where `other` is one of `needed`."""

    model_config = ConfigDict(frozen=True)

    field: str
    other: str
    needed: list[Any]
    allowed: str
    why: str
    values: list[Any]


class EngineOptions(BaseModel):
    """What the engine says of its options."""

    model_config = ConfigDict(frozen=True)

    defaults: dict[str, Any]
    recipes: dict[str, dict[str, Any]]
    default_recipes: dict[str, str]
    methods_of_stages: list[str]
    """Those that fit a network of several stages, a ResNet; every method fits a transformer."""
    requirements: list[Requirement]

    def values_of(self, recipe: str) -> dict[str, Any]:
        """What every option is when a recipe is all that is given."""
        values = {**self.defaults, **self.recipes[recipe]}
        return {name: value for name, value in values.items() if name in JobOptions.model_fields}


@lru_cache(maxsize=1)
def load_engine_options() -> EngineOptions:
    """Read the file once."""
    return EngineOptions.model_validate_json(FILE.read_bytes())


def given_options(request: TrainingOptions) -> dict[str, Any]:
    """What the user chose, as JSON values: neither unset nor null.

    Args:
        request: may have fields beside the options.
    """
    return request.model_dump(
        mode="json", include=set(JobOptions.model_fields), exclude_unset=True, exclude_none=True
    )


def complete_options(given: Mapping[str, Any], lora_rank: int) -> JobOptions:
    """The given options, and for the others the recipe's values or the defaults.

    Args:
        given: of `given_options`.
        lora_rank: where none is given.
    """
    engine = load_engine_options()
    method = given.get("method", engine.defaults["method"])
    recipe = given.get("recipe", engine.default_recipes[method])
    return JobOptions.model_validate({**engine.values_of(recipe), "k": lora_rank, **given, "recipe": recipe})


def check_combinations(options: JobOptions) -> list[FieldProblem]:
    """Every option that its own range allows and another option forbids.

    Args:
        options: complete.
    """
    return [*_check_requirements(options), *_check_warmup(options)]


def _check_requirements(options: JobOptions) -> Iterator[FieldProblem]:
    engine = load_engine_options()
    values = options.model_dump(mode="json")
    default_recipe = engine.default_recipes[options.method]
    expected = engine.values_of(options.recipe or default_recipe) | {"recipe": default_recipe}
    for rule in engine.requirements:
        value = values[rule.field]
        asked_for = value != expected[rule.field] and (not rule.values or value in rule.values)
        if asked_for and values[rule.other] not in rule.needed:
            yield FieldProblem(rule.field, rule.why, rule.allowed, value)


def _check_warmup(options: JobOptions) -> Iterator[FieldProblem]:
    epochs = max(options.epochs or 0, 1)
    if options.warmup_epochs is not None and options.warmup_epochs >= epochs:
        message = "the warm-up must be shorter than the training"
        yield FieldProblem("warmup_epochs", message, f"0 to below {epochs}", options.warmup_epochs)
