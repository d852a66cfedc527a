"""The Dockerfile as far as it can be checked without building it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT
from tools.list_requirements import list_requirements

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COPIED = [
    source
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    for source in line.split()[:-1]
]


def test_the_linter_has_no_complaint():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(hadolint), "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", COPIED)
def test_everything_copied_exists_in_git_and_reaches_the_builder(source):
    assert (
        subprocess.run(
            ["git", "ls-files", "--error-unmatch", source], cwd=ROOT, capture_output=True
        ).returncode
        == 0
    )
    let_through = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert source in let_through


def test_nothing_else_reaches_the_builder():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(COPIED)


def test_images_run_as_a_user_without_rights():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    named = {re.search(r" AS (\S+)", stage)[1]: stage for stage in stages}
    assert "USER 10001:10001" in named["code"]
    for final in ("service", "trainer"):
        assert named[final].startswith("code AS")
        assert "USER" not in named[final]


def test_packages_are_installed_by_the_pins():
    installs = re.findall(r"pip install.*", DOCKERFILE)
    assert installs
    assert all("--constraint constraints.txt" in line and "--no-cache-dir" in line for line in installs)


def test_the_service_s_packages_are_without_torch_and_the_trainer_s_are_all():
    names = {re.split(r"[<>=\[]", line)[0] for line in list_requirements("service", "tracing")}
    assert {"fastapi", "celery", "pillow", "opentelemetry-sdk"} <= names
    assert not {"torch", "timm", "torchvision"} & names
    assert "torch>=2.13,<2.14" in list_requirements("engine", "service")
    with pytest.raises(KeyError):
        list_requirements("sevice")


def test_the_service_image_s_processes_run_on_its_packages_alone(tmp_path):
    script = Path(__file__).with_name("only_packages_of.py")
    modules = ["api.main", "worker.app", "worker.dispatcher", "worker.ingester", "worker.ingest",
               "core.migrate", "core.production", "core.liveness"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(script), "service", "tracing", "--", *modules],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "WECOLORA_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == modules
