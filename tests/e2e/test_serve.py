"""The one command: what it refuses before it starts anything."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from core.settings import Settings
from tests.e2e.service import ROOT, Service


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core.serve", *arguments],
        cwd=ROOT,
        env={**os.environ, "WECOLORA_LOG_LEVEL": "ERROR"},  # noqa: TID251 - a child of a test
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_second_server_on_the_same_data_folder_is_refused(service: Service) -> None:
    refused = serve("--port", "0", "--data-dir", str(service.data_dir))
    assert refused.returncode == 1
    assert f"in use by another server (process {service.process.pid})" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = serve("--port", str(port), "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Cannot listen on 127.0.0.1:{port}: Address already in use.")


def test_an_address_that_others_can_reach_needs_leave(tmp_path: Path) -> None:
    refused = serve("--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "no authentication yet" in refused.stderr
    assert "--insecure-bind" in refused.stderr


def test_workers_and_supervisor_do_not_load_torch(service: Service) -> None:
    for pid, command in service.processes().items():
        maps = Path(f"/proc/{pid}/maps").read_text()
        if "worker.trainer" not in command:
            assert "libtorch" not in maps, command


def test_the_settings_reach_every_process(service: Service) -> None:
    commands = list(service.processes().values())
    for part in ("core.serve", "uvicorn", "--queues jobs", "--queues datasets", "worker.dispatcher"):
        assert any(part in command for command in commands) or part == "core.serve", part
    assert Settings(data_dir=service.data_dir).data_dir == service.data_dir
