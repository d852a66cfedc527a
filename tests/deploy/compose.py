"""The compose file as Docker reads it: variables filled in, anchors merged."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")

Service = dict[str, Any]


def read_compose() -> dict[str, Any]:
    """The file with every variable at its default, filled in after the YAML was read, as Docker does."""
    return _filled(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def _filled(value: Any) -> Any:
    match value:
        case str():
            return _VARIABLE.sub(r"\2", value)
        case dict():
            return {key: _filled(item) for key, item in value.items()}
        case list():
            return [_filled(item) for item in value]
        case _:
            return value


def variables() -> set[str]:
    """The variables that the file asks its user for."""
    return {name for name, _ in _VARIABLE.findall(FILE.read_text(encoding="utf-8"))}
