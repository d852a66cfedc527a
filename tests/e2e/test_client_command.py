"""``wecolora-client`` as a process, against the real service with its worker."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from samples.digits import DigitsFolders, write_digits
from tests.e2e.service import Service
from tests.servers import free_port

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> DigitsFolders:
    return write_digits(tmp_path_factory.mktemp("digits"))


def call(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "wecolora_client", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_one_command_takes_a_folder_to_a_student_that_loads_in_timm(
    service: Service, folders: DigitsFolders, tmp_path: Path
) -> None:
    done = call(
        "run", folders.unlabelled, "--teacher", "sample-digits", "--k", 8, "--set", "recipe=paper",
        "--set", "epochs=1", "--out", tmp_path / "student", "--url", service.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "12 → 6 blocks" in done.stderr
    assert "recipe paper, r = 2, k = 8, teacher sample-digits" in done.stdout
    (path,) = re.findall(r'timm\.create_model\("local-dir:([^"]+)", pretrained=True\)', done.stdout)
    assert len(timm.create_model(f"local-dir:{path}", pretrained=True).blocks) == 6
    (job,) = re.findall(r"Job (job_\w+)", done.stderr)
    fetched = call("download", job, "report.json", "--out", tmp_path, "--url", service.url)
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "report.json").is_file()
    assert call("cancel", job, "--url", service.url).stdout.strip() == "succeeded"


def test_what_the_caller_got_wrong_is_said_before_anything_is_sent_where_it_can_be(
    service: Service, folders: DigitsFolders, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    there = ("--teacher", "sample-digits", "--url", service.url)
    before = service.get("/datasets")["data"]
    taken = call("run", folders.unlabelled, "--out", tmp_path / "full", *there)
    assert (taken.returncode, "not empty" in taken.stderr) == (2, True)
    nothing = call("run", tmp_path / "nothing", "--out", tmp_path / "student", *there)
    assert (nothing.returncode, "there is no" in nothing.stderr) == (2, True)
    unknown = call("run", folders.unlabelled, "--out", tmp_path / "student", *there, "--r", 13)
    assert (unknown.returncode, "r: " in unknown.stderr) == (2, True)
    malformed = call("run", folders.unlabelled, "--out", tmp_path / "student", "--set", "epochs", *there)
    assert (malformed.returncode, "NAME=VALUE" in malformed.stderr) == (2, True)
    assert service.get("/datasets")["data"] == before


def test_a_refusal_names_the_field_and_a_service_that_is_away_is_named(
    service: Service, folders: DigitsFolders, tmp_path: Path
) -> None:
    refused = call("watch", "job_unknown", "--url", service.url)
    assert (refused.returncode, "job_unknown" in refused.stderr) == (2, True)
    url = f"http://127.0.0.1:{free_port()}"
    away = call("cancel", "job_1", "--url", url, "--patience", 0.2)
    assert (away.returncode, url in away.stderr) == (1, True)
