"""Options that need others: what is refused because it would be ignored without a word, or would deliver nothing.

The rules are data, so that the service can hold the same ones without the engine (`tools.make_engine_options` writes
them to ``core/engine_options.json``). What is ignored and misleads nobody, such as a rank for a method without
adapters, is let through: one set of options may go to every method.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from wecolora.choices import Initialisation, Method, Recipe
from wecolora.config import DistillConfig
from wecolora.errors import OutOfRange
from wecolora.recipes import default_recipe, recipe_values

_WITH_PAIRS = (Method.WECOLORA, Method.WECO_LORA_QV)
_WITHOUT_TRAINING = (*_WITH_PAIRS, Method.WECO)
_COPIES = (*_WITHOUT_TRAINING, Method.WECO_KD)


@dataclass(frozen=True)
class Requirement:
    """An option that may be set only where another one has certain values.

    Attributes:
        field: the option, by its field of `DistillConfig`.
        other: the option that it depends on.
        needed: values of ``other`` that let it be set.
        allowed: what ``field`` may be elsewhere, in words.
        why: the reason, in words.
        values: values of ``field`` that this is about; empty: every one but the recipe's own, or the default.
    """

    field: str
    other: str
    needed: tuple[str, ...]
    allowed: str
    why: str
    values: tuple[str | int, ...] = ()


_PAIRS_ONLY = "only the methods wecolora and weco-lora-qv have adapters"
_REFIT_ONLY = "only init closed-form refits blocks"
_NEEDS_TRAINING = "only wecolora, weco-lora-qv and weco deliver something useful without training"

REQUIREMENTS = (
    Requirement("epochs", "method", _WITHOUT_TRAINING, "at least 1", _NEEDS_TRAINING, (0,)),
    Requirement("recipe", "method", _WITHOUT_TRAINING, "paper or best", _NEEDS_TRAINING, (Recipe.INSTANT,)),
    Requirement(
        "init",
        "method",
        _COPIES,
        "copy",
        "only methods that copy blocks refit them",
        (Initialisation.CLOSED_FORM,),
    ),
    Requirement("refit_views", "init", (Initialisation.CLOSED_FORM,), "left out", _REFIT_ONLY),
    Requirement("refit_ridge", "init", (Initialisation.CLOSED_FORM,), "left out", _REFIT_ONLY),
    Requirement("adapter", "method", _WITH_PAIRS, "left out", _PAIRS_ONLY),
    Requirement("lora_alpha", "method", _WITH_PAIRS, "left out", _PAIRS_ONLY),
    Requirement("lora_init", "method", _WITH_PAIRS, "left out", _PAIRS_ONLY),
    Requirement("pseudo_labels", "method", (Method.DEIT,), "left out", "only method deit has pseudo-labels"),
    Requirement("mask_ratio", "method", (Method.DMAE,), "left out", "only method dmae masks patches"),
)


def check_combinations(config: DistillConfig) -> None:
    """Refuse options that need others.

    Args:
        config: each option in its own range.

    Raises:
        OutOfRange: names the option, what it may be, and why.
    """
    values = {name: getattr(config, name) for name in DistillConfig.model_fields}
    expected = _expected_values(config)
    for rule in REQUIREMENTS:
        value = values[rule.field]
        asked_for = value != expected[rule.field] and (not rule.values or value in rule.values)
        if asked_for and values[rule.other] not in rule.needed:
            raise OutOfRange(rule.field, _plain(value), rule.allowed, rule.why)


def _expected_values(config: DistillConfig) -> Mapping[str, object]:
    """What every field would be, had the user named method and recipe alone."""
    defaults = {name: field.default for name, field in DistillConfig.model_fields.items()}
    recipe = config.recipe or default_recipe(config.method)
    return {**defaults, **recipe_values(recipe), "recipe": default_recipe(config.method)}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value
