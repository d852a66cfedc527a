"""Write ``core/engine_options.json``: what the service knows of the engine's options without importing the engine.

The API checks a job's options before anything is stored, and runs without torch; the recipes' values, the defaults and
the rules between options come from the engine by this file. A test fails when it is out of date.

Usage: ``python -m tools.make_engine_options``, a second. Run it again after a change of recipes, defaults or rules.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from wecolora.combinations import REQUIREMENTS
from wecolora.config import OPTION_NAMES, DistillConfig, Method, Recipe
from wecolora.recipes import default_recipe, recipe_values

OUT = Path(__file__).parents[1] / "core" / "engine_options.json"


def describe_options() -> dict[str, Any]:
    """Defaults, recipes and rules as JSON values, by the names that users know."""
    described: dict[str, Any] = to_jsonable_python(
        {
            "defaults": {_name(field): info.default for field, info in DistillConfig.model_fields.items()},
            "recipes": {
                recipe: {_name(field): value for field, value in recipe_values(recipe).items()}
                for recipe in Recipe
            },
            "default_recipes": {method: default_recipe(method) for method in Method},
            "requirements": [
                {**asdict(rule), "field": _name(rule.field), "other": _name(rule.other)}
                for rule in REQUIREMENTS
            ],
        }
    )
    return described


def dump(described: dict[str, Any]) -> str:
    """As it lies in the file."""
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _name(field: str) -> str:
    return OPTION_NAMES.get(field, field)


if __name__ == "__main__":
    OUT.write_text(dump(describe_options()), encoding="utf-8")
