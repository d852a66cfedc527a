"""The one command: what it refuses before it starts anything."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from core.settings import Settings
from tests.e2e.service import ROOT, Service, wait_for


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
    assert "no API key is asked for" in refused.stderr
    for way_out in ("127.0.0.1", "WECOLORA_AUTH=keys", "--insecure-bind"):
        assert way_out in refused.stderr


def test_the_embedded_service_says_that_it_asks_for_no_key(service: Service) -> None:
    wait_for(lambda: "No API key is asked for" in "".join(service.log), 30)


def test_with_keys_it_may_serve_others_and_the_first_key_is_made_by_a_command(tmp_path: Path) -> None:
    service = Service(tmp_path, ("--host", "0.0.0.0"), WECOLORA_AUTH="keys")
    try:
        wait_for(lambda: "Every request needs an API key" in "".join(service.log), 30)
        assert service.http.get("/jobs").status_code == 401
        made = subprocess.run(
            [sys.executable, "-m", "core.admin", "create-key", "--owner", "lab"],
            cwd=ROOT,
            env={**os.environ, "WECOLORA_DATA_DIR": str(tmp_path)},  # noqa: TID251 - a child of a test
            capture_output=True,
            text=True,
            check=True,
        )
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert service.http.get("/jobs", headers=headers).status_code == 200
    finally:
        service.stop()


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
