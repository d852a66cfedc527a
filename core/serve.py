"""The whole service by one command: `python -m core.serve`; embedded without any server, or in production.

Migrates the embedded database, or checks that production may start, then runs the API, two workers (jobs one at a
time, uploads beside them) and the dispatcher as child processes. One that dies is started again. Nothing stays
running when this ends, however it ends.
"""

import argparse
import fcntl
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from core.exposure import AUTH_NOTES, is_loopback, serves_others
from core.logs import configure_logging
from core.settings import Settings, read_settings, to_environment

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 120.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
_LOCK_NAME = "serve.lock"

log = logging.getLogger("serve")


class CannotServe(Exception):
    """Why the service does not start, as a sentence for the user."""


@dataclass
class Child:
    """One supervised process, started again when it dies; the pauses between starts grow."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_seconds: float = 0.5
    start_at: float = 0.0

    def start(self) -> None:
        """Start it in a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "core.lifeline", *self.arguments],
            pass_fds=self.fds,
            process_group=0,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=dict(self.environment),
        )

    def tend(self) -> None:
        """Start it again when it has died and its pause is over."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            status, self.process = self.process.returncode, None
            if now - self.started_at > STEADY_SECONDS:
                self.pause_seconds = 0.5
            log.warning("%s ended with %d; starting it again", self.name, status)
            self.start_at = now + self.pause_seconds
            self.pause_seconds = min(2 * self.pause_seconds, LONGEST_PAUSE_SECONDS)
        if self.process is None and now >= self.start_at:
            self.start()

    def signal(self, number: signal.Signals) -> None:
        """Signal the process, or on SIGKILL its whole group."""
        if self.process is None or self.process.poll() is not None:
            return
        if number is signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether nothing of it runs."""
        return self.process is None or self.process.poll() is not None


@dataclass
class Supervisor:
    """Starts the children, keeps them running, stops them all."""

    children: list[Child]
    stop_seconds: float
    stopping: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)

    def run(self, on_start: Callable[[], None]) -> None:
        """Run until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._on_signal())
        try:
            for child in self.children:
                child.start()
            on_start()
            while not self.stopping.wait(0.3):
                for child in self.children:
                    child.tend()
        finally:
            self._stop()

    def _on_signal(self) -> None:
        if self.stopping.is_set():
            self.hurry.set()
        self.stopping.set()

    def _stop(self) -> None:
        deadline = time.monotonic() + self.stop_seconds
        for child in self.children:
            child.signal(signal.SIGTERM)
        while not all(child.has_ended() for child in self.children):
            if time.monotonic() > deadline or self.hurry.is_set():
                for child in self.children:
                    child.signal(signal.SIGKILL)
            time.sleep(0.05)


def lock_data_dir(folder: Path) -> IO[str]:
    """Take the data folder; keep the file open for as long as the server runs.

    Raises:
        CannotServe: when another server has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / _LOCK_NAME).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise CannotServe(
            f"The data folder {folder} is in use by another server (process {owner}). "
            "Stop that one, or give another folder with --data-dir."
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def open_listener(host: str, port: int, *, is_open: bool) -> socket.socket:
    """Bind the address. The socket outlives the API process, so that its restart refuses no connection.

    Args:
        host: to listen on.
        port: likewise; 0 takes any free one.
        is_open: whether requests from other machines are answered (see `serves_others`).

    Raises:
        CannotServe: when the address is taken, or is open to others without leave.
    """
    if not is_open and not is_loopback(host):
        raise CannotServe(
            f"{host} can be reached from other machines, and no API key is asked for. Use 127.0.0.1; or ask for "
            "keys with WECOLORA_AUTH=keys (make the first one with 'python -m core.admin create-key'); or add "
            "--insecure-bind when the network is yours alone."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port with --port (0: any free one)."
        ) from error
    return listener


def make_children(settings: Settings, listener: socket.socket, lifeline: int) -> list[Child]:
    """The processes of the service."""
    environment = to_environment(settings)
    watched = (str(lifeline),)
    socket_fd = listener.fileno()
    quiet = ("--log-level", "warning", "--no-server-header", "--timeout-graceful-shutdown", "3")
    api = ("uvicorn", "api.main:app", "--fd", str(socket_fd), *quiet)
    return [
        Child("api", (*watched, *api), environment, (lifeline, socket_fd)),
        Child("worker for jobs", (*watched, *_worker("jobs", 1)), environment, (lifeline,)),
        Child("worker for uploads", (*watched, *_worker("datasets", 2)), environment, (lifeline,)),
        Child("dispatcher", (*watched, "worker.dispatcher"), environment, (lifeline,)),
    ]


def _worker(queue: str, concurrency: int) -> tuple[str, ...]:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    command = ("celery", "--quiet", "--app", "worker.app", "worker", "--pool", "threads")
    return (
        *command,
        "--concurrency",
        str(concurrency),
        "--queues",
        queue,
        "--hostname",
        f"{queue}@%h",
        *quiet,
    )


def prepare(settings: Settings) -> None:
    """Bring the embedded database to this code's schema; in production, check that everything is there.

    Raises:
        CannotServe: when that fails; carries what it said.
    """
    if settings.profile == "production":
        # Several machines may run the service: that one of them changes the tables is for the operator to say.
        _run(settings, "core.production", "The production profile cannot start")
    else:
        _run(settings, "core.migrate", "The database could not be migrated")


def _run(settings: Settings, module: str, failure: str) -> None:
    """Run a module in a process that takes its libraries with it."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=to_environment(settings.model_copy(update={"log_format": "text"})),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CannotServe(f"{failure}:\n{(done.stderr or done.stdout)[-2000:]}")


def wait_until_ready(host: str, port: int, stopping: threading.Event) -> bool:
    """Ask /readyz until it says yes; False when told to stop or when it takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and not stopping.wait(0.1):
        connection = http.client.HTTPConnection(host, port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        except OSError:
            continue
        finally:
            connection.close()
    return False


def serve(settings: Settings, host: str, port: int) -> None:
    """Run the service until told to stop.

    Raises:
        CannotServe: before anything was started.
    """
    # The lock is first: a second server must not even migrate.
    with (
        lock_data_dir(settings.data_dir.resolve()),
        open_listener(host, port, is_open=serves_others(settings)) as listener,
    ):
        prepare(settings)
        lifeline, _writing = os.pipe()
        supervisor = Supervisor(
            make_children(settings, listener, lifeline), stop_seconds=settings.cancel_grace_seconds + 5
        )
        bound = listener.getsockname()[1]
        ready = partial(_announce, host, bound, AUTH_NOTES[settings.auth], supervisor.stopping)
        announce = threading.Thread(target=ready, daemon=True)
        supervisor.run(on_start=announce.start)


def _announce(host: str, port: int, note: str, stopping: threading.Event) -> None:
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    reachable = wildcard.get(host, host)
    shown = f"[{reachable}]" if ":" in reachable else reachable
    if wait_until_ready(reachable, port, stopping):
        sys.stdout.write(f"WeCoLoRA is ready at http://{shown}:{port} (Ctrl-C stops it)\n{note}\n")
        sys.stdout.flush()
    elif not stopping.is_set():
        log.error("the service is not ready after %.0f s; see the messages above", READY_SECONDS)


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="serve", description="Run the whole service on this machine.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one")
    parser.add_argument("--data-dir", type=Path, help="where everything is kept (default: ./var)")
    parser.add_argument(
        "--insecure-bind",
        action="store_true",
        help="allow a --host that other machines can reach, without keys",
    )
    parser.add_argument(
        "--profile",
        choices=("embedded", "production"),
        help="production: servers named by WECOLORA_… settings, checked before anything starts",
    )
    options = parser.parse_args()
    given = {
        "data_dir": options.data_dir and options.data_dir.resolve(),
        "profile": options.profile,
        "insecure_bind": options.insecure_bind or None,
    }
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    configure_logging(settings)
    try:
        serve(settings, options.host, options.port)
    except CannotServe as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
