"""A waiting row is announced until somebody takes it, whatever the queue forgets."""

import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from core import clock, leases
from core.broker import JOBS_QUEUE, queue_of_job, queues_of_worker, send_run_job
from core.models import Job
from core.settings import GIBIBYTE, to_environment
from core.states import DatasetState, JobState
from tests.core.rows import add_dataset, add_job, expire_lease, get
from tests.servers import wait_until
from worker.child import ROOT
from worker.dispatcher import Reaper, announce, run
from worker.runtime import Runtime


def received(runtime: Runtime, name: str = JOBS_QUEUE) -> list[str]:
    """Take every message off a queue of jobs."""
    ids = []
    with runtime.celery.connection_for_read() as connection:
        queue = connection.SimpleQueue(name, no_ack=True)
        while queue.qsize():
            ids.append(queue.get(block=False).payload[0][0])
        queue.close()
    return ids


def test_a_job_that_was_never_announced_is_announced_once(runtime: Runtime) -> None:
    patient = replace(runtime, settings=runtime.settings.model_copy(update={"resend_after_seconds": 600}))
    job = add_job(runtime.database)
    assert announce(patient) == 1
    assert announce(patient) == 0
    assert received(runtime) == [job]


def test_a_job_is_announced_to_workers_whose_device_has_room_for_it(runtime: Runtime) -> None:
    large = add_job(runtime.database, device_bytes=30 * GIBIBYTE)
    small = add_job(runtime.database, device_bytes=2 * GIBIBYTE)
    assert announce(runtime) == 2
    assert received(runtime) == [small]
    assert received(runtime, "jobs-24g") == [large]
    assert "jobs-24g" in queues_of_worker(40 * GIBIBYTE)
    assert "jobs-24g" not in queues_of_worker(24 * GIBIBYTE)
    assert queue_of_job(500 * GIBIBYTE) in queues_of_worker(None)


def test_a_worker_hears_of_the_jobs_that_its_device_has_room_for(runtime: Runtime) -> None:
    settings = runtime.settings.model_copy(update={"device_gib": 24, "spare_trainer": False})
    sizes = {"jobs": None, "jobs-16g": 20, "jobs-24g": 30}
    for gib in sizes.values():
        send_run_job(runtime.celery, "job_nowhere", gib and gib * GIBIBYTE)
    command = ("celery", "--quiet", "--app", "worker.app", "worker", "--pool", "threads", "--queues", "jobs")
    worker = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=to_environment(settings))
    try:
        queue = settings.data_dir / "queue"
        wait_until(lambda: len(list(queue.glob("*.msg"))) == 1, seconds=60)
    finally:
        worker.terminate()
        worker.wait(60)
    assert received(runtime, "jobs-24g") == ["job_nowhere"]


def test_a_job_that_still_waits_is_announced_again_also_after_the_queue_was_lost(runtime: Runtime) -> None:
    job = add_job(runtime.database)
    announce(runtime)
    shutil.rmtree(runtime.settings.data_dir / "queue")
    (runtime.settings.data_dir / "queue").mkdir()
    time.sleep(0.25)
    assert announce(runtime) == 1
    assert received(runtime) == [job]


def test_a_job_whose_dataset_is_not_ready_waits_in_silence(runtime: Runtime) -> None:
    add_job(runtime.database, add_dataset(runtime.database, DatasetState.UPLOADING))
    assert announce(runtime) == 0


def test_a_queue_that_is_away_is_no_error(runtime: Runtime) -> None:
    job = add_job(runtime.database)
    shutil.rmtree(runtime.settings.data_dir / "queue")
    announce(runtime)
    assert get(runtime.database, Job, job).state is JobState.QUEUED


def test_a_job_of_a_worker_that_fell_silent_is_taken_and_announced(runtime: Runtime) -> None:
    job = add_job(runtime.database)
    runtime.write(lambda s: leases.claim_job(s, job, "gone", 5))
    reaper = Reaper(runtime)
    assert reaper.reap() == []
    expire_lease(runtime.database, Job, job)
    assert reaper.reap() == [job]
    assert announce(runtime) == 1
    assert get(runtime.database, Job, job).state is JobState.QUEUED


def test_a_database_that_was_silent_itself_costs_no_worker_its_job(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 0.1, 1.0, 61.0, 62.0, 62.1])
    monkeypatch.setattr("worker.dispatcher.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    job = add_job(runtime.database)
    runtime.write(lambda s: leases.claim_job(s, job, "alive", 5))
    reaper = Reaper(runtime, _last=0.0)
    assert reaper.reap() == []
    expire_lease(runtime.database, Job, job)
    assert reaper.reap() == [], "its query took a minute"
    assert reaper.reap() == [], "workers have a lease's time to renew"
    assert get(runtime.database, Job, job).state is JobState.RUNNING
    monkeypatch.undo()
    assert Reaper(runtime).reap() == [job]


def test_the_loop_ends_when_told_to(runtime: Runtime) -> None:
    stop = threading.Event()
    job = add_job(runtime.database)
    thread = threading.Thread(target=run, args=(runtime, stop))
    thread.start()
    time.sleep(0.4)
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert job in received(runtime)


def test_the_database_clock_decides_and_not_the_worker_s(runtime: Runtime) -> None:
    job = add_job(runtime.database)
    runtime.write(lambda s: leases.claim_job(s, job, "slow", 5))
    ahead = {"lease_expires_at": clock.now_plus(600)}
    runtime.write(lambda s: s.execute(update(Job).where(Job.id == job).values(**ahead)))
    assert Reaper(runtime).reap() == []


def test_the_worker_s_process_never_loads_torch(runtime: Runtime) -> None:
    code = (
        "import sys, worker.app, worker.dispatcher; print('torch' in sys.modules, 'wecolora' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=to_environment(runtime.settings),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]
