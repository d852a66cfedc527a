"""The entry script, as a user calls it; that it sets itself up is what got this test running."""

import itertools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "demo",
    "serve",
    "client",
    "build",
    "types",
    "migrate",
    "secrets",
    "admin",
    "test",
    "lint",
    "bench",
    "cli",
    "lock",
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "run"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")


def test_without_a_command_every_command_is_explained():
    done = run()
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"./run {command}" in done.stdout


def test_an_unknown_command_exits_with_2_and_the_list():
    done = run("destil")
    assert done.returncode == 2
    assert "Unknown command 'destil'" in done.stderr
    assert "./run demo" in done.stderr


@pytest.mark.skipif(
    not (ROOT / ".venv" / ".installed").exists(), reason="the environment was not set up by ./run"
)
def test_benchmarks_are_listed_and_an_unknown_one_exits_with_2():
    listed = run("bench")
    assert listed.returncode == 0
    assert {"accuracy", "busy_cores", "embedded_broker"} <= set(listed.stdout.split())
    unknown = run("bench", "speed")
    assert unknown.returncode == 2
    assert "no benchmark 'speed'" in unknown.stderr


@pytest.mark.skipif(
    not (ROOT / ".venv" / ".installed").exists(), reason="the environment was not set up by ./run"
)
def test_the_command_line_of_the_engine_is_reached_through_the_script():
    done = run("cli", "distill", "photos", "--teacher", "sample", "--out", "out", "--r", "0")
    assert done.returncode == 2
    assert "r is 0" in done.stderr


def test_the_readme_names_only_commands_that_exist():
    words = (ROOT / "README.md").read_text().replace("`", " ").split()
    named = {after for before, after in itertools.pairwise(words) if before == "./run"}
    assert {"demo", "test"} <= named <= set(COMMANDS)
