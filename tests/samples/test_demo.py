"""The demo as a user runs it: a process, its output, its exit code, and what it leaves behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import timm

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc to find left processes"),
]


def _start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "samples.demo", "--folder", str(folder), "--epochs", "2", *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _left_processes(folder: Path) -> list[str]:
    """Command lines of the processes that were started for this folder, by argument or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(folder).encode() in told and int(process.name) != os.getpid():
            found.append(told.replace(b"\0", b" ").decode(errors="replace")[:200])
    return found


def _wait_until(is_true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.1)


def test_the_demo_shows_the_table_delivers_a_student_and_leaves_nothing_running(tmp_path: Path) -> None:
    demo = _start(tmp_path)
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, output
    for title in ("teacher", "student", "linear-probe accuracy", "parameters", "GMACs", "latency", "MB"):
        assert title in output, output
    assert "400 images" in output
    assert "1397 images" in output
    (line,) = re.findall(r'local-dir:([^"]+)"', output)
    model = timm.create_model(f"local-dir:{line}", pretrained=True)
    assert len(model.blocks) == 6
    assert not _left_processes(tmp_path)
    assert not list(tmp_path.glob("service-*"))


def test_ctrl_c_stops_the_demo_and_its_service(tmp_path: Path) -> None:
    demo = _start(tmp_path, "--epochs", "500")
    assert demo.stdout is not None
    for line in demo.stdout:
        if "400 images" in line:
            break
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, rest
    assert "nothing is left running" in rest
    assert not _left_processes(tmp_path)


def test_keep_leaves_the_service_and_says_how_to_stop_it(tmp_path: Path) -> None:
    demo = _start(tmp_path, "--keep")
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, output
    (url,) = re.findall(r"still runs at (\S+)", output)
    (process_id,) = re.findall(r"kill (\d+)", output)
    try:
        assert httpx2.get(f"{url}/jobs", trust_env=False).json()["data"][0]["state"] == "succeeded"
    finally:
        os.kill(int(process_id), signal.SIGTERM)
    _wait_until(lambda: not _left_processes(tmp_path))


def test_an_option_out_of_range_is_refused_with_the_services_own_words(tmp_path: Path) -> None:
    demo = _start(tmp_path, "--r", "13")
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1, output
    assert re.search(r"r: .*12", output), output
    assert not _left_processes(tmp_path)
