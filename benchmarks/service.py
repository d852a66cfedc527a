"""How much does the service carry? On real Postgres, Redis and S3 servers, beside a bare FastAPI route in the same run.

    ./run bench service [requests] [streams] [jobs] [upload]

Prints a line of JSON for each:

requests
    a second, and how long they take, for a job that is read, listed or made, beside a route that does nothing; the
    kinds take turns.
streams
    event streams of one job that one process of the API holds: seconds until all of them have an event, memory.
jobs
    10,000 queued ones of four owners, one of whom came first with most of them, through dispatcher and real Celery
    workers whose trainer does nothing: jobs a second, lost, done twice, and how long the other owners waited.
upload
    of gigabytes in one request: the API's memory before it and at most.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import func, insert, select

from benchmarks.machine import describe_machine
from core import leases, migrate
from core.database import Database
from core.ids import new_id
from core.models import Dataset, Job, Owner
from core.principals import LOCAL_OWNER
from core.settings import Settings, to_environment
from core.states import DatasetState, JobState
from tests.backends import run_redis, run_s3
from tests.servers import free_port, run_postgres

_ROUNDS, _SECONDS_A_ROUND, _CONNECTIONS = 5, 2.0, 4
_STREAMS = 2000
_JOBS, _WORKERS = 10_000, 2
_OWNERS = {"early": 9_400, "second": 200, "third": 200, "fourth": 200}
_UPLOAD_BYTES = 4 << 30
_CHUNK = os.urandom(1 << 20)
_OPTIONS = {"teacher": "sample-digits", "r": 2, "k": 8}


def main() -> None:
    """Measure and print."""
    parts: dict[str, Callable[[Settings], Any]] = {
        "requests": measure_requests,
        "streams": measure_streams,
        "jobs": measure_jobs,
        "upload": measure_upload,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="all of them unless some are named")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(describe_machine()), flush=True)  # noqa: T201
    for name in options.parts or parts:
        with servers() as settings:
            print(json.dumps({"part": name} | parts[name](settings)), flush=True)  # noqa: T201


@contextlib.contextmanager
def servers() -> Iterator[Settings]:
    """Settings of a migrated deployment on servers of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        run_postgres() as postgres,
        run_redis() as redis_url,
        run_s3() as s3,
    ):
        fields: dict[str, Any] = {name.removeprefix("WECOLORA_").lower(): value for name, value in s3.items()}
        settings = Settings(
            data_dir=Path(folder),
            database_url=postgres.url,
            broker_url=redis_url,
            log_level="WARNING",
            **fields,
        )
        database = Database(settings)
        migrate.upgrade(database.engine)
        database.close()
        yield settings


@contextlib.contextmanager
def process(settings: Settings, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the service."""
    running = subprocess.Popen(
        [sys.executable, "-m", *command], env=to_environment(settings), stdout=subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(60)


@contextlib.contextmanager
def http_server(settings: Settings, app: str) -> Iterator[tuple[int, int]]:
    """An application under uvicorn as the service starts it; yields its port and process id."""
    port = free_port()
    with process(settings, "uvicorn", app, "--port", str(port), "--log-level", "warning") as running:
        for _ in range(600):
            with contextlib.suppress(httpx2.TransportError):
                httpx2.get(f"http://127.0.0.1:{port}/openapi.json", timeout=5).raise_for_status()
                break
            time.sleep(0.1)
        yield port, running.pid


def ready_dataset(settings: Settings, owner: str = LOCAL_OWNER) -> str:
    """A dataset that jobs may use."""
    database = Database(settings)
    identifier = new_id("ds")
    with database.write() as session:
        session.add(
            Dataset(id=identifier, owner=owner, name="photos", state=DatasetState.READY, image_count=1000)
        )
    database.close()
    return identifier


# Requests


def measure_requests(settings: Settings) -> dict[str, Any]:
    """Requests a second of each kind, in turns."""
    dataset = ready_dataset(settings)
    with (
        http_server(settings, "benchmarks.bare_api:app") as (bare, _),
        http_server(settings, "api.main:app") as (port, _),
    ):
        made = httpx2.post(f"http://127.0.0.1:{port}/jobs", json=_OPTIONS | {"dataset_id": dataset})
        job = made.raise_for_status().json()["id"]
        body = json.dumps(_OPTIONS | {"dataset_id": dataset}).encode()
        kinds = {
            "bare GET": (bare, "GET", "/things/7", None),
            "bare POST": (bare, "POST", "/things", json.dumps({"name": "a", "r": 2, "k": 8}).encode()),
            "read a job": (port, "GET", f"/jobs/{job}", None),
            "list 20 jobs": (port, "GET", "/jobs?limit=20", None),
            "make a job": (port, "POST", "/jobs", body),
        }
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(_ROUNDS):
            for kind, request in kinds.items():
                found = _load(*request)
                rates[kind].append(len(found) / _SECONDS_A_ROUND)
                times[kind] += found
    bare_rates = {"GET": statistics.median(rates["bare GET"]), "POST": statistics.median(rates["bare POST"])}
    return {
        "connections": _CONNECTIONS,
        "kinds": {
            kind: {
                "per_second": round(statistics.median(rates[kind]), 1),
                "of_bare": round(statistics.median(rates[kind]) / bare_rates[method], 3),
                "p50_ms": round(1000 * statistics.median(times[kind]), 1),
                "p99_ms": round(1000 * statistics.quantiles(times[kind], n=100)[98], 1),
            }
            for kind, (_, method, _, _) in kinds.items()
        },
    }


def _load(port: int, method: str, path: str, body: bytes | None) -> list[float]:
    """Seconds of each request that several connections could make in a round."""
    seconds: list[float] = []
    end = time.monotonic() + _SECONDS_A_ROUND

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json"} if body else {}
        while (started := time.monotonic()) < end:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (200, 201), answer.status
            seconds.append(time.monotonic() - started)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


# Event streams


def measure_streams(settings: Settings) -> dict[str, Any]:
    """Open many streams of a running job, then let an event happen."""
    dataset = ready_dataset(settings)
    with http_server(settings, "api.main:app") as (port, pid):
        job = httpx2.post(f"http://127.0.0.1:{port}/jobs", json=_OPTIONS | {"dataset_id": dataset}).json()[
            "id"
        ]
        before = _resident(pid)
        return asyncio.run(_hold_streams(settings, port, pid, job)) | {"memory_mib_before": before}


async def _hold_streams(settings: Settings, port: int, pid: int, job: str) -> dict[str, Any]:
    readers = []
    for _ in range(_STREAMS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /jobs/{job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        readers.append((reader, writer))
    await asyncio.gather(*(reader.readuntil(b"The job is queued.") for reader, _ in readers))
    idle_from = _cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(10)
    idle = (_cpu_seconds(pid) - idle_from[0]) / (time.monotonic() - idle_from[1])
    database = Database(settings)
    started = time.monotonic()
    with database.write() as session:
        assert leases.claim_job(session, job, "benchmark", 300)
    await asyncio.gather(*(reader.readuntil(b"The job is running.") for reader, _ in readers))
    seconds = time.monotonic() - started
    database.close()
    memory = _resident(pid)
    for _, writer in readers:
        writer.close()
    return {
        "streams": _STREAMS,
        "seconds_until_all_have_an_event": round(seconds, 2),
        "memory_mib": memory,
        "idle_core_share": round(idle, 3),
    }


# Jobs


def measure_jobs(settings: Settings) -> dict[str, Any]:
    """Queue thousands of jobs, then start dispatcher and workers."""
    database = Database(settings)
    with database.write() as session:
        session.execute(insert(Owner).prefix_with("").values([{"name": name} for name in _OWNERS]))
    rows = []
    for owner, count in _OWNERS.items():
        dataset = ready_dataset(settings, owner)
        rows += [
            {"id": new_id("job"), "owner": owner, "state": JobState.QUEUED, "teacher": {"name": "sample"},
             "dataset_id": dataset, "options": {"r": 2, "k": 4}}
            for _ in range(count)
        ]  # fmt: skip
    with database.write() as session:
        session.execute(insert(Job), rows)
    assert len(rows) == _JOBS
    celery = (
        "celery",
        "--quiet",
        "--app",
        "benchmarks.noop_worker",
        "worker",
        "--pool",
        "threads",
        "--concurrency",
        "1",
    )
    quick = settings.model_copy(update={"spare_trainer": False})
    with contextlib.ExitStack() as running:
        started = time.monotonic()
        running.enter_context(process(quick, "worker.dispatcher"))
        for number in range(_WORKERS):
            running.enter_context(process(quick, *celery, "--queues", "jobs", "--hostname", f"w{number}@%h"))
        while _count(database, JobState.QUEUED, JobState.RUNNING):
            time.sleep(0.5)
        seconds = time.monotonic() - started
    with database.read() as session:
        order = session.execute(
            select(Job.owner, Job.attempt, Job.state, Job.finished_at).order_by(Job.finished_at, Job.id)
        ).all()
    database.close()
    seconds = (order[-1].finished_at - order[0].finished_at).total_seconds()
    last = {
        owner: max(place for place, row in enumerate(order, 1) if row.owner == owner) for owner in _OWNERS
    }
    return {
        "jobs": len(order),
        "workers": _WORKERS,
        "seconds_from_first_to_last_end": round(seconds, 1),
        "jobs_per_second": round(len(order) / seconds, 1),
        "lost": sum(row.state is not JobState.SUCCEEDED for row in order),
        "done_twice": sum(row.attempt != 1 for row in order),
        "queued": dict(Counter(row.owner for row in order)),
        "last_job_of_an_owner_was_number": last,
    }


def _count(database: Database, *states: JobState) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(states))) or 0


# Upload


def measure_upload(settings: Settings) -> dict[str, Any]:
    """Send one large body."""
    settings = settings.model_copy(update={"max_upload_bytes": 2 * _UPLOAD_BYTES})
    with http_server(settings, "api.main:app") as (port, pid):
        url = f"http://127.0.0.1:{port}"
        dataset = httpx2.post(f"{url}/datasets", json={"name": "large"}).json()["id"]
        httpx2.put(f"{url}/datasets/{dataset}/parts/2?filename=warm.zip", content=_CHUNK).raise_for_status()
        before, most, done = _resident(pid), [0.0], threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                most[0] = max(most[0], _resident(pid))

        watching = threading.Thread(target=watch)
        watching.start()
        started = time.monotonic()
        answer = httpx2.put(
            f"{url}/datasets/{dataset}/parts/1?filename=large.zip",
            content=(_CHUNK for _ in range(_UPLOAD_BYTES // len(_CHUNK))),
            timeout=600,
        )
        seconds = time.monotonic() - started
        done.set()
        watching.join()
        assert answer.raise_for_status().json()["size_bytes"] == _UPLOAD_BYTES
    return {
        "gib": _UPLOAD_BYTES / 2**30,
        "seconds": round(seconds, 1),
        "mib_per_second": round(_UPLOAD_BYTES / 2**20 / seconds, 1),
        "memory_mib_before": before,
        "memory_mib_at_most": most[0],
    }


def _resident(pid: int) -> float:
    """MiB of a process in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
