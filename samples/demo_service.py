"""Start the embedded service for the demo and be sure to stop it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wecolora_client import Client, ClientError

ROOT = Path(__file__).parents[1]
_START_SECONDS = 90
_STOP_SECONDS = 20
_LOG_LINES = 20


@dataclass(frozen=True)
class RunningService:
    """The demo's service.

    Attributes:
        url: where it answers.
        process_id: ends the whole service when it is sent SIGTERM.
        data_dir: its database, queue, objects and log.
    """

    url: str
    process_id: int
    data_dir: Path


@contextmanager
def embedded_service(
    parent: Path, port: int | None, keep: bool, settings: Mapping[str, str] | None = None
) -> Iterator[RunningService]:
    """Run ``python -m core.serve`` on data of its own until the block is left.

    Args:
        parent: folder for the data folder, which is removed with the service.
        port: to listen on; None takes a free one.
        keep: leave the service and its data when the block ends without an exception.
        settings: of the service, by variable.

    Raises:
        ClientError: when it does not come up; the message ends with its last words.
    """
    parent.mkdir(parents=True, exist_ok=True)
    data_dir = Path(tempfile.mkdtemp(prefix="service-", dir=parent))
    port = port or _free_port()
    command = [sys.executable, "-m", "core.serve"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data_dir)]
    log = data_dir / "service.log"
    with log.open("wb") as output:
        # A session of its own: the terminal's Ctrl-C reaches the demo, which stops the service in order.
        process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env=_environment() | dict(settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = RunningService(f"http://127.0.0.1:{port}", process.pid, data_dir)
    is_kept = False
    try:
        _wait_until_ready(service, process, log)
        yield service
        is_kept = keep
    finally:
        if not is_kept:
            _stop(process)
            shutil.rmtree(data_dir, ignore_errors=True)


def _environment() -> dict[str, str]:
    # A configured deployment (another database, another store) is not the demo's to use.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WECOLORA_")}  # noqa: TID251
    # The sample's matrices are too small for a second thread to help, and on a busy machine threads that wait for
    # each other make it ten times slower.
    return inherited | {"OMP_NUM_THREADS": "1"}


def _wait_until_ready(service: RunningService, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with Client(service.url) as client:
        while not client.is_ready():
            if process.poll() is not None:
                raise ClientError(f"the service stopped with code {process.returncode}:\n{_last_lines(log)}")
            if time.monotonic() > deadline:
                raise ClientError(f"the service is not up after {_START_SECONDS} s:\n{_last_lines(log)}")
            time.sleep(0.1)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
