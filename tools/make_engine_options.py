"""Write ``core/engine_options.json``: what the service knows of the engine's options without importing the engine.

The API checks a job's options before anything is stored, and runs without torch; the recipes' values, the defaults and
the rules between options come from the engine by this file. The table of options in ``docs/api.md`` is written, too.
Tests fail when either is out of date.

Usage: ``python -m tools.make_engine_options``, a second. Run it again after a change of options, recipes or rules.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from core.options import JobOptions, allowed_values
from wecolora.choices import METHODS_OF_STAGES
from wecolora.combinations import REQUIREMENTS
from wecolora.config import OPTION_NAMES, DistillConfig, Method, Recipe
from wecolora.recipes import default_recipe, recipe_values

ROOT = Path(__file__).parents[1]
OUT = ROOT / "core" / "engine_options.json"
DOCUMENT = ROOT / "docs" / "api.md"
BEGIN, END = "<!-- options: written by tools.make_engine_options -->", "<!-- end of options -->"


def describe_options() -> dict[str, Any]:
    """Defaults, recipes and rules as JSON values, by the names that users know."""
    described: dict[str, Any] = to_jsonable_python(
        {
            "defaults": {_name(field): info.default for field, info in DistillConfig.model_fields.items()},
            "recipes": {
                recipe: {_name(field): value for field, value in recipe_values(recipe).items()}
                for recipe in Recipe
            },
            "methods_of_stages": [method for method in Method if method in METHODS_OF_STAGES],
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


def with_table(document: str, described: dict[str, Any]) -> str:
    """The document with the table of options between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{make_table(described)}{END}{after}"


def make_table(described: dict[str, Any]) -> str:
    """Every option of a job in Markdown: its values, its default and the recipes', its meaning."""
    lines = ["| option | allowed | default | what |", "|---|---|---|---|"]
    for name, field in JobOptions.model_fields.items():
        allowed = allowed_values(field) or "`1,3,5` or `[1, 3, 5]`"
        lines.append(f"| `{name}` | {allowed} | {_default(name, described)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(name: str, described: dict[str, Any]) -> str:
    default = described["defaults"][name]
    words = [] if default is None else [json.dumps(default).strip('"')]
    for recipe, values in described["recipes"].items():
        if values.get(name, default) != default:
            words.append(f"{recipe}: {json.dumps(values[name]).strip(chr(34))}")
    return "; ".join(words)


def _name(field: str) -> str:
    return OPTION_NAMES.get(field, field)


if __name__ == "__main__":
    options = describe_options()
    OUT.write_text(dump(options), encoding="utf-8")
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8"), options), encoding="utf-8")
