"""Print the packages that a part of the product needs, a line each: ``python tools/list_requirements.py PART …``.

A part is an extra of ``pyproject.toml``, or ``engine`` for the packages of the library itself. pip installs an extra
only together with the library, whose torch is 5 GB that an API does not need. Needs nothing but Python.
"""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
ENGINE = "engine"


def list_requirements(*parts: str) -> list[str]:
    """The requirements of the parts, each once.

    Raises:
        KeyError: when there is no such part.
    """
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lists = {ENGINE: project["dependencies"], **project["optional-dependencies"]}
    return sorted({requirement for part in parts for requirement in lists[part]})


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in list_requirements(*sys.argv[1:])))
