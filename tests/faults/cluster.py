"""A deployment whose parts can be broken one by one: real servers, real processes, and a relay on every way between."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from psycopg import connect
from psycopg.rows import dict_row

from core.settings import Settings
from core.storage import Storage
from tests.backends import ObjectStore, Redis
from tests.e2e.service import QUICK, ROOT, Client, wait_for
from tests.relay import Relay
from tests.servers import Postgres, free_port

LEASE_SECONDS = 4
CELERY = (
    "celery", "--quiet", "--app", "worker.app", "worker", "--pool", "threads", "--concurrency", "1",
    "--without-gossip", "--without-mingle", "--without-heartbeat",
)  # fmt: skip


class Machine:
    """One of our processes as if on a machine of its own.

    Attributes:
        name: of the machine.
        folder: its disk.
        database: its way to Postgres, as `broker` and `store` are to Redis and to the object store.
        process: None while it is down.
    """

    def __init__(self, name: str, folder: Path, command: tuple[str, ...], servers: "Servers") -> None:
        self.name, self.folder = name, folder
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self.database = Relay(f"http://127.0.0.1:{servers.postgres.port}")
        self.broker = Relay(f"http://127.0.0.1:{servers.redis.port}")
        self.store = Relay(servers.store.endpoint)
        self._environment = {
            **QUICK,
            **servers.store.settings,
            "WECOLORA_PROFILE": "production",
            "WECOLORA_S3_ENDPOINT": self.store.url,
            "WECOLORA_DATABASE_URL": f"postgresql+psycopg://test:{servers.password}@127.0.0.1:{self.database.port}/postgres",
            "WECOLORA_BROKER_URL": f"redis://:{servers.password}@127.0.0.1:{self.broker.port}/0",
            "WECOLORA_DATA_DIR": str(folder),
            "WECOLORA_LEASE_SECONDS": str(LEASE_SECONDS),
            # Every job here takes longer, so that each shows that no message comes back while its job runs.
            "WECOLORA_BROKER_VISIBILITY_TIMEOUT_SECONDS": "2",
            "WECOLORA_SPARE_TRAINER": "true",
        }

    def start(self, most_bytes: int | None = None, **more: str) -> None:
        """Start the process, with so much memory (address space) at most, and with more in its environment."""
        limit = (
            None if most_bytes is None else partial(resource.setrlimit, resource.RLIMIT_AS, (most_bytes,) * 2)
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._command],
                cwd=ROOT,
                env={**os.environ, **self._environment, **more},  # noqa: TID251 - a child of a test
                stdout=log,
                stderr=log,
                preexec_fn=limit,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 40) -> None:
        """Signal the process and wait for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(seconds)
        self.process = None

    def trainer(self, job_id: str, attempt: int = 1) -> int:
        """The process of the job's attempt on this machine, as soon as its log names it."""

        def started() -> list[str]:
            of_attempt = [
                line for line in self.log() if (line.get("job_id"), line.get("attempt")) == (job_id, attempt)
            ]
            return [line["message"] for line in of_attempt if "started as process" in line["message"]]

        return int(wait_for(started)[0].rsplit(" ", 1)[1])

    def log(self) -> list[dict[str, Any]]:
        """What the process has logged since its first start."""
        lines = self._log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @contextlib.contextmanager
    def standing_still(self, *others: int) -> Iterator[None]:
        """Inside, the process (and others) gets no time: SIGSTOP, then SIGCONT."""
        assert self.process is not None
        stopped = (self.process.pid, *others)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for relay in (self.database, self.broker, self.store):
            relay.close()

    @property
    def _log_file(self) -> Path:
        return self.folder.with_suffix(".log")


class Servers:
    """Postgres, Redis and the object store, without anything of ours."""

    def __init__(self, postgres: Postgres, redis: Redis, store: ObjectStore, password: str) -> None:
        self.postgres, self.redis, self.store, self.password = postgres, redis, store, password


class Cluster(Client):
    """The deployment: `api`, `dispatcher`, `uploads`, and two workers for jobs, `a` and `b`."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers, self.folder = servers, folder
        self._api_port = free_port()
        self.machines: dict[str, Machine] = {}
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self._api_port}", timeout=30)
        fields = {
            name.removeprefix("WECOLORA_").lower(): value for name, value in servers.store.settings.items()
        }
        self.storage = Storage.from_settings(Settings(**fields))

    def open(self) -> None:
        """Migrate and start everything."""
        api = ("uvicorn", "api.main:app", "--port", str(self._api_port), "--log-level", "warning")
        commands = {
            "api": api,
            "dispatcher": ("worker.dispatcher",),
            "uploads": (*CELERY, "--queues", "datasets"),
            "a": (*CELERY, "--queues", "jobs"),
            "b": (*CELERY, "--queues", "jobs"),
        }
        for name, command in commands.items():
            self.machines[name] = Machine(name, self.folder / name, command, self.servers)
        migrate = Machine("migrate", self.folder / "migrate", ("core.migrate",), self.servers)
        migrate.start()
        assert migrate.process is not None
        assert migrate.process.wait(120) == 0
        for machine in self.machines.values():
            machine.start()
        self.wait_until_ready()

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def wait_until_ready(self) -> None:
        """Wait until the API answers."""

        def is_ready() -> bool:
            try:
                return self.http.get("/readyz").status_code == 200
            except httpx2.TransportError:
                return False

        wait_for(is_ready)

    def row(self, job_id: str) -> dict[str, Any]:
        """What the database has on a job."""
        with self._connect() as connection:
            return connection.execute("select * from jobs where id = %s", (job_id,)).fetchone() or {}

    def named(self, name: str) -> list[str]:
        """The ids of the jobs of a name, by the database."""
        with self._connect() as connection:
            return [row["id"] for row in connection.execute("select id from jobs where name = %s", (name,))]

    def holder(self, job_id: str) -> Machine:
        """The machine that runs a job."""
        worker_id = wait_for(lambda: self.row(job_id)["worker_id"])
        pid = int(worker_id.split(":")[1])
        return next(each for each in self.machines.values() if each.process and each.process.pid == pid)

    def other(self, machine: Machine) -> Machine:
        """The other worker for jobs."""
        return self.machines["b" if machine.name == "a" else "a"]

    def wait_for_checkpoint(self, job_id: str, step: int) -> Machine:
        """Wait until the job is past a step and has a checkpoint; its machine."""
        self.wait_for_step(job_id, step)
        wait_for(lambda: self.row(job_id)["checkpoint"])
        return self.holder(job_id)

    def objects(self, job_id: str) -> list[str]:
        """Keys of the job's objects, without what every key begins with."""
        return [key.removeprefix(f"jobs/{job_id}/") for key in self.storage.list_keys(f"jobs/{job_id}")]

    def close(self) -> None:
        self.http.close()
        for machine in self.machines.values():
            machine.close()

    def _connect(self) -> Any:
        port, password = self.servers.postgres.port, self.servers.password
        return connect(f"postgresql://test:{password}@127.0.0.1:{port}/postgres", row_factory=dict_row)
