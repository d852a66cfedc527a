"""Import modules where only some packages exist: ``python only_packages_of.py PART … -- MODULE …``.

What the parts of pyproject.toml do not need, directly or through others, is hidden from the import.
"""

import importlib
import sys
from importlib import metadata

from packaging.requirements import Requirement

from tools.list_requirements import list_requirements


def closure(requirements: list[str]) -> set[str]:
    """The distributions needed, by normalised name."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        for extra in ("", *requirement.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            try:
                needed = metadata.requires(requirement.name) or []
            except metadata.PackageNotFoundError:
                continue  # for another system
            waiting += [
                other for other in map(Requirement, needed)
                if other.marker is None or other.marker.evaluate({"extra": extra})
            ]  # fmt: skip
    return {name for name, _ in found}


class Hidden:
    """Finds nothing: comes first and refuses what does not belong."""

    def __init__(self, modules: set[str]) -> None:
        self.modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse, or leave it to the next finder."""
        if name.split(".")[0] in self.modules:
            raise ModuleNotFoundError(f"{name} is not among the image's packages")


def main() -> None:
    """Hide, then import."""
    split = sys.argv.index("--")
    parts, modules = sys.argv[1:split], sys.argv[split + 1 :]
    there = closure(list_requirements(*parts))
    owners = metadata.packages_distributions()
    hidden = {
        module
        for module, distributions in owners.items()
        if not any(name.lower().replace("_", "-") in there | {"wecolora"} for name in distributions)
    }
    assert {"torch", "timm", "pytest"} <= hidden
    for module in [name for name in sys.modules if name.split(".")[0] in hidden]:
        del sys.modules[module]
    sys.meta_path.insert(0, Hidden(hidden))
    for module in modules:
        importlib.import_module(module)
        sys.stdout.write(f"{module}\n")


if __name__ == "__main__":
    main()
