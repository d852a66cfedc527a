"""What was deleted or has had its time is removed, whatever happens on the way."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from core import clock, leases
from core.deletion import delete_job, remove_later
from core.errors import StorageUnavailable
from core.leases import IngestResult, JobError
from core.models import AuditEntry, Dataset, DatasetPart, Deletion, Job, JobEvent
from core.principals import SYSTEM
from core.queries import audit
from core.queries.jobs import lock_job, requeue
from core.states import DatasetState, JobState
from core.storage import Storage
from tests.core.rows import add_dataset, add_job, count, expire_lease, get
from tests.servers import wait_until
from worker import sweep
from worker.dispatcher import sweep_until_stopped
from worker.runtime import Runtime

DAY = 86_400
INGESTED = IngestResult(1, 0, 0, 7, "report.json")


def store(runtime: Runtime, *keys: str) -> None:
    for key in keys:
        runtime.storage.put_bytes(key, b"content")


def age(runtime: Runtime, model, column: str, days: float) -> None:
    runtime.write(lambda s: s.execute(update(model).values({column: clock.now_plus(-days * DAY)})))


def sweep_all(runtime: Runtime) -> None:
    while sweep.sweep(runtime):
        pass


def test_the_objects_of_what_was_deleted_go_and_all_others_stay(runtime: Runtime) -> None:
    job = add_job(runtime.database, state=JobState.SUCCEEDED)
    store(runtime, f"jobs/{job}/attempts/1/student.zip", f"jobs/{job}/checkpoints/1/5", "jobs/job_other/a")
    runtime.write(lambda s: delete_job(s, job, SYSTEM))
    sweep_all(runtime)
    assert runtime.storage.list_keys("jobs") == ["jobs/job_other/a"]
    assert (count(runtime.database, Deletion), count(runtime.database, Job)) == (0, 0)
    assert count(runtime.database, Dataset) == 1


class Breaking(Storage):
    """A store that answers some calls and then no more."""

    answers = 0

    def delete(self, keys) -> None:
        for key in keys:
            if self.answers == 0:
                raise StorageUnavailable("broken off")
            self.answers -= 1
            super().delete(key)


@pytest.mark.parametrize("answers", [0, 1, 3])
def test_a_sweep_that_breaks_off_is_taken_up_again(runtime: Runtime, answers: int) -> None:
    store(runtime, *(f"datasets/ds_1/parts/{number}" for number in range(4)), "datasets/ds_2/parts/1")
    runtime.write(lambda s: remove_later(s, ["datasets/ds_1/parts", "datasets/ds_1/parts", "datasets/ds_2"]))
    breaking = Breaking(runtime.storage.store)
    breaking.answers = answers
    assert sweep.sweep(replace(runtime, storage=breaking)) == 0
    assert len(runtime.storage.list_keys("datasets")) == 5 - answers
    assert count(runtime.database, Deletion) == 2
    sweep_all(runtime)
    assert runtime.storage.list_keys("datasets") == []
    assert count(runtime.database, Deletion) == 0


def test_a_sweep_that_is_told_to_stop_leaves_the_rest_to_the_next_one(runtime: Runtime) -> None:
    store(runtime, "jobs/job_1/a", "jobs/job_2/a")
    runtime.write(lambda s: remove_later(s, ["jobs/job_1", "jobs/job_2"]))
    stop = threading.Event()
    stop.set()
    assert sweep.sweep(runtime, stop) == 0
    assert count(runtime.database, Deletion) == 2


def test_uploaded_files_go_once_they_are_read_and_the_images_stay(runtime: Runtime) -> None:
    parts = []
    for ending in ("ready", "failed", "silent"):
        dataset = add_dataset(runtime.database, DatasetState.INGESTING)
        parts.append(f"datasets/{dataset}/parts/1")
        store(runtime, f"datasets/{dataset}/parts/1", f"datasets/{dataset}/ingest/1/00000.tar")
        claim = runtime.write(lambda s, d=dataset: leases.claim_dataset(s, d, "worker-1", 30))
        assert claim is not None
        if ending == "ready":
            runtime.write(lambda s, c=claim: leases.complete_ingest(s, c, INGESTED))
        elif ending == "failed":
            runtime.write(lambda s, c=claim: leases.fail_dataset(s, c, JobError("no_images", "none")))
        else:
            expire_lease(runtime.database, Dataset, dataset)
            runtime.write(lambda s: leases.reap_expired_datasets(s, 3))
    sweep_all(runtime)
    kept = [key.split("/", 2)[2] for key in runtime.storage.list_keys("datasets")]
    assert sorted(kept) == ["ingest/1/00000.tar", "parts/1"], (
        "of the one that is ready; of the one that is tried again"
    )
    assert runtime.storage.exists(parts[2]), "the next attempt reads them"


def test_the_checkpoint_of_a_job_that_succeeded_goes_though_its_worker_died_then(runtime: Runtime) -> None:
    job = add_job(runtime.database)
    claim = runtime.write(lambda s: leases.claim_job(s, job, "worker-1", 30))
    store(runtime, f"jobs/{job}/checkpoints/1/9.safetensors", f"jobs/{job}/attempts/1/student.zip")
    runtime.write(lambda s: leases.succeed(s, claim, {}, []))
    sweep_all(runtime)
    assert runtime.storage.list_keys("jobs") == [f"jobs/{job}/attempts/1/student.zip"]


def test_what_a_worker_that_fell_silent_had_stored_goes_but_its_checkpoint(runtime: Runtime) -> None:
    job = add_job(runtime.database)
    runtime.write(lambda s: leases.claim_job(s, job, "worker-1", 30))
    store(runtime, f"jobs/{job}/checkpoints/1/9.safetensors", f"jobs/{job}/attempts/1/student.zip")
    expire_lease(runtime.database, Job, job)
    runtime.write(lambda s: leases.reap_expired(s, 3))
    sweep_all(runtime)
    assert runtime.storage.list_keys("jobs") == [f"jobs/{job}/checkpoints/1/9.safetensors"]


def test_checkpoints_wait_for_a_retry_and_then_go(runtime: Runtime) -> None:
    job = add_job(runtime.database, state=JobState.FAILED, attempt=2, checkpoint={"step": 9})
    store(runtime, f"jobs/{job}/checkpoints/1/4", f"jobs/{job}/checkpoints/2/9")
    age(runtime, Job, "finished_at", 6.9)
    sweep_all(runtime)
    assert get(runtime.database, Job, job).checkpoint == {"step": 9}
    age(runtime, Job, "finished_at", 7.1)
    # The retry comes between the two halves of the sweep and stores a checkpoint of its own.
    with runtime.database.write() as session:
        sweep.retention.expire_checkpoints(session, 7)
    with runtime.database.write() as session:
        requeue(session, lock_job(session, job, SYSTEM))
    assert runtime.write(lambda s: leases.claim_job(s, job, "worker-1", 30)).attempt == 3
    store(runtime, f"jobs/{job}/checkpoints/3/1")
    sweep_all(runtime)
    assert runtime.storage.list_keys("jobs") == [f"jobs/{job}/checkpoints/3/1"]
    with runtime.database.read() as session:
        messages = session.scalars(select(JobEvent.message).order_by(JobEvent.seq)).all()
    assert messages[:2] == [
        "The checkpoint was removed after 7 days; a retry starts anew.",
        "The job is tried again and starts anew.",
    ]


def test_an_upload_that_was_left_goes_and_one_that_goes_on_stays(runtime: Runtime) -> None:
    left, fed, complete = (
        add_dataset(runtime.database, state)
        for state in (DatasetState.UPLOADING, DatasetState.UPLOADING, DatasetState.READY)
    )
    age(runtime, Dataset, "updated_at", 8)
    for dataset, days in ((left, 7.5), (fed, 0.5)):
        part = DatasetPart(
            dataset_id=dataset, number=1, key=f"datasets/{dataset}/parts/1", size_bytes=7, sha256="0" * 64,
            content_type="a/b", created_at=clock.now_plus(-days * DAY),
        )  # fmt: skip
        runtime.write(lambda s, part=part: s.add(part))
        store(runtime, f"datasets/{dataset}/parts/1")
    sweep_all(runtime)
    assert runtime.storage.list_keys("datasets") == [f"datasets/{fed}/parts/1"]
    with runtime.database.read() as session:
        assert set(session.scalars(select(Dataset.id))) == {fed, complete}
        entry = session.scalars(select(AuditEntry)).one()
    assert (entry.action, entry.target) == ("dataset.expire", left)


def test_old_entries_of_the_audit_log_go(runtime: Runtime) -> None:
    for target in ("old", "new"):
        runtime.write(lambda s, target=target: audit.record(s, SYSTEM, "job.create", target))
    old = update(AuditEntry).where(AuditEntry.target == "old").values(created_at=clock.now_plus(-366 * DAY))
    runtime.write(lambda s: s.execute(old))
    sweep_all(runtime)
    with runtime.database.read() as session:
        assert session.scalars(select(AuditEntry.target)).all() == ["new"]


def test_the_loop_sweeps_at_once_and_ends_when_told_to(runtime: Runtime) -> None:
    stop = threading.Event()
    store(runtime, "jobs/job_1/a")
    runtime.write(lambda s: remove_later(s, ["jobs/job_1"]))
    thread = threading.Thread(target=sweep.run, args=(runtime, stop))
    thread.start()
    wait_until(lambda: count(runtime.database, Deletion) == 0)
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert runtime.storage.list_keys("jobs") == []


def test_a_fault_of_the_sweep_ends_the_dispatcher(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise ValueError("a fault")

    monkeypatch.setattr(sweep, "sweep", fail)
    stop = threading.Event()
    with pytest.raises(ValueError, match="a fault"):
        sweep_until_stopped(runtime, stop)
    assert stop.is_set()
