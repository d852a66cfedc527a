"""The lease and the fencing token, on SQLite and on Postgres."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from core import clock
from core.errors import LeaseLost
from core.leases import (
    JobError,
    NewArtifact,
    NewEvent,
    abandon_attempt,
    cancelled,
    claim_job,
    due_jobs,
    fail,
    mark_sent,
    reap_expired,
    record_checkpoint,
    record_progress,
    release,
    renew,
    set_phase,
    succeed,
)
from core.models import Artifact, Deletion, Job, JobEvent
from core.principals import SYSTEM
from core.queries.artifacts import list_artifacts
from core.queries.events import list_events
from core.queries.jobs import request_cancel
from core.records import WaitingJob
from core.states import DatasetState, EventType, JobState, Phase
from tests.core.rows import add_dataset, add_job, count, expire_lease, get

LEASE_SECONDS = 30


def claim(database, job_id, worker="worker-1"):
    with database.write() as session:
        return claim_job(session, job_id, worker, LEASE_SECONDS)


def test_of_two_concurrent_claimers_one_wins(database):
    for _ in range(5):
        job_id = add_job(database)
        start, claims = threading.Barrier(2), []

        def contend(worker, job_id=job_id, start=start, claims=claims):
            start.wait()
            claims.append(claim(database, job_id, worker))

        threads = [threading.Thread(target=contend, args=(f"worker-{n}",)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [each for each in claims if each is not None]
        job = get(database, Job, job_id)
        assert (job.state, job.attempt, job.worker_id) == (JobState.RUNNING, 1, winner.worker_id)


ARTIFACT = NewArtifact("student.safetensors", "jobs/x/student", 4, "0" * 64, "application/octet-stream")
FENCED_WRITES = {
    "renew": lambda session, stale: renew(session, stale, LEASE_SECONDS),
    "set_phase": lambda session, stale: set_phase(session, stale, Phase.MERGING),
    "record_progress": lambda session, stale: record_progress(
        session, stale, {"step": 1}, [NewEvent(EventType.LOG, "late")]
    ),
    "record_checkpoint": lambda session, stale: record_checkpoint(session, stale, {"step": 1}),
    "succeed": lambda session, stale: succeed(session, stale, {"accuracy": 1}, [ARTIFACT]),
    "fail": lambda session, stale: fail(session, stale, JobError("x", "late")),
    "cancelled": cancelled,
    "release": lambda session, stale: release(session, stale, "late", True),
}


@pytest.mark.parametrize("write", FENCED_WRITES)
def test_a_stale_attempt_can_write_nothing(database, write):
    job_id = add_job(database)
    stale = claim(database, job_id, "frozen")
    expire_lease(database, Job, job_id)
    with database.write() as session:
        assert reap_expired(session, max_attempts=3) == [job_id]
    # The same worker claims again: its name alone must not let the old attempt through.
    assert claim(database, job_id, "frozen").attempt == 2
    before, events = get(database, Job, job_id), count(database, JobEvent)
    with pytest.raises(LeaseLost), database.write() as session:
        FENCED_WRITES[write](session, stale)
    after = get(database, Job, job_id)
    columns = Job.__table__.columns.keys()
    assert {name: getattr(before, name) for name in columns} == {
        name: getattr(after, name) for name in columns
    }
    assert count(database, JobEvent) == events
    assert count(database, Artifact) == 0


@pytest.mark.parametrize("write", FENCED_WRITES)
def test_a_stale_attempt_can_write_nothing_while_the_job_waits(sqlite, write):
    job_id = add_job(sqlite)
    stale = claim(sqlite, job_id)
    expire_lease(sqlite, Job, job_id)
    with sqlite.write() as session:
        reap_expired(session, max_attempts=3)
    with pytest.raises(LeaseLost), sqlite.write() as session:
        FENCED_WRITES[write](session, stale)
    assert get(sqlite, Job, job_id).state is JobState.QUEUED


def test_a_silent_worker_loses_its_job_and_after_the_last_attempt_the_job_fails(database):
    job_id = add_job(database)
    for attempt in (1, 2, 3):
        assert claim(database, job_id).attempt == attempt
        expire_lease(database, Job, job_id)
        with database.write() as session:
            assert reap_expired(session, max_attempts=3) == [job_id]
    job = get(database, Job, job_id)
    assert job.state is JobState.FAILED
    assert job.error["code"] == "attempts_exhausted"
    assert job.error["retryable"] is True
    assert claim(database, job_id) is None


def test_a_worker_told_to_stop_is_not_charged(database):
    job_id = add_job(database)
    for _ in range(5):
        held = claim(database, job_id)
        with database.write() as session:
            assert release(session, held, "the worker is shutting down", False) is JobState.QUEUED
    job = get(database, Job, job_id)
    assert (job.attempt, job.failed_attempts) == (5, 0)


def test_a_crashed_trainer_is_charged_and_the_last_crash_fails_the_job(database):
    job_id = add_job(database)
    states = []
    for _ in range(2):
        held = claim(database, job_id)
        with database.write() as session:
            states.append(release(session, held, "the trainer crashed", True, max_attempts=2))
    assert states == [JobState.QUEUED, JobState.FAILED]
    assert "the trainer crashed" in get(database, Job, job_id).error["message"]


def test_a_job_that_gets_further_between_crashes_is_not_given_up(database):
    job_id = add_job(database)
    states = []
    for step in (10, 20, 20, 20):
        held = claim(database, job_id)
        with database.write() as session:
            record_checkpoint(session, held, {"key": f"at-{step}", "sha256": "0" * 64, "step": step})
            states.append(release(session, held, "the trainer crashed", True, max_attempts=3))
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.QUEUED, JobState.FAILED]


def test_a_lease_is_measured_by_the_clock_of_the_database(database):
    job_id = add_job(database)
    held = claim(database, job_id)
    lease_left = get(database, Job, job_id).lease_expires_at - datetime.now(UTC)
    assert timedelta(seconds=LEASE_SECONDS - 5) < lease_left <= timedelta(seconds=LEASE_SECONDS + 1)
    with database.write() as session:
        assert reap_expired(session, 3) == []
        renew(session, held, 120)
    renewed = get(database, Job, job_id).lease_expires_at - datetime.now(UTC)
    assert renewed > timedelta(seconds=100)


def test_an_expired_lease_that_nobody_took_may_be_renewed(database):
    job_id = add_job(database)
    held = claim(database, job_id)
    expire_lease(database, Job, job_id)
    with database.write() as session:
        renew(session, held, LEASE_SECONDS)
        assert reap_expired(session, 3) == []


def test_the_holder_hears_of_a_cancel_and_a_released_job_is_then_cancelled(database):
    job_id = add_job(database)
    held = claim(database, job_id)
    with database.write() as session:
        assert renew(session, held, LEASE_SECONDS) is False
    for _ in range(2):
        with database.write() as session:
            assert request_cancel(session, job_id, SYSTEM)[0].state is JobState.RUNNING
    with database.write() as session:
        assert renew(session, held, LEASE_SECONDS) is True
    with database.write() as session:
        assert release(session, held, "drained", False) is JobState.CANCELLED
    messages = _messages(database, job_id)
    assert messages.count("Cancel was requested.") == 1


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(database):
    job_id = add_job(database)
    with database.write() as session:
        assert request_cancel(session, job_id, SYSTEM)[0].state is JobState.CANCELLED
    assert claim(database, job_id) is None


def test_success_publishes_files_and_state_together(database):
    job_id = add_job(database)
    held = claim(database, job_id)
    with database.read() as session:
        assert list_artifacts(session, job_id) == []
    with database.write() as session:
        succeed(session, held, {"student_accuracy": 0.9}, [ARTIFACT])
    with database.read() as session:
        (artifact,) = list_artifacts(session, job_id)
        last = list_events(session, job_id, 0, 100)[-1]
    assert (artifact.name, artifact.attempt) == ("student.safetensors", 1)
    assert (last.type, last.data) == (EventType.STATE, {"state": "succeeded"})


def test_events_are_numbered_without_gaps_under_concurrent_writers(database):
    job_id = add_job(database)
    held = claim(database, job_id)

    def write_some():
        for step in range(10):
            with database.write() as session:
                record_progress(
                    session, held, {"step": step}, [NewEvent(EventType.METRIC, f"step {step}")] * 2
                )

    threads = [threading.Thread(target=write_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        numbers = [event.seq for event in list_events(session, job_id, 0, 1000)]
    assert numbers == list(range(1, 2 + 60 + 1))


def test_progress_gives_the_estimated_finish(database):
    job_id = add_job(database)
    held = claim(database, job_id)
    with database.write() as session:
        record_progress(session, held, {"step": 1, "seconds_left": 60.0}, [])
    left = get(database, Job, job_id).estimated_finish_at - datetime.now(UTC)
    assert timedelta(seconds=50) < left < timedelta(seconds=61)


@pytest.mark.parametrize("state", [DatasetState.UPLOADING, DatasetState.INGESTING, DatasetState.FAILED])
@pytest.mark.parametrize("which", ["dataset_id", "probe_dataset_id"])
def test_a_job_waits_until_its_datasets_are_ready(sqlite, state, which):
    ids = {"dataset_id": add_dataset(sqlite), "probe_dataset_id": add_dataset(sqlite)}
    job_id = add_job(sqlite, **{**ids, which: add_dataset(sqlite, state)})
    assert claim(sqlite, job_id) is None
    with sqlite.read() as session:
        assert due_jobs(session, 5) == []


def test_a_waiting_job_is_announced_again_ever_more_rarely(database):
    job_id = add_job(database)
    for sent in range(1, 4):
        with database.write() as session:
            assert due_jobs(session, 10) == [WaitingJob(job_id, None)]
            mark_sent(session, "job", [job_id])
            assert due_jobs(session, 10) == []
        for seconds, is_due in ((sent * 10 - 3, False), (sent * 10 + 1, True)):
            _send_back(database, job_id, seconds)
            with database.read() as session:
                assert (due_jobs(session, 10) == [WaitingJob(job_id, None)]) is is_due


def test_a_released_job_is_announced_at_once(database):
    job_id = add_job(database)
    with database.write() as session:
        mark_sent(session, "job", [job_id])
    held = claim(database, job_id)
    with database.write() as session:
        release(session, held, "drained", False)
        assert due_jobs(session, 60) == [WaitingJob(job_id, None)]


def _send_back(database, job_id, seconds):
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(last_sent_at=clock.now_plus(-seconds)))


def _messages(database, job_id):
    with database.read() as session:
        return [event.message for event in list_events(session, job_id, 0, 100)]


@pytest.mark.parametrize(
    ("state", "named_in", "is_removed"),
    [
        (JobState.RUNNING, 1, False),  # the other attempt resumed from what this one had stored
        (JobState.RUNNING, 2, True),
        (JobState.FAILED, 1, False),  # it stays for a retry
        (JobState.SUCCEEDED, 1, True),
    ],
)
def test_an_attempt_that_lost_its_lease_leaves_no_checkpoint_that_nobody_needs(
    database, state, named_in, is_removed
):
    job_id = add_job(database)
    lost = claim(database, job_id)
    key = f"jobs/{job_id}/checkpoints/{named_in}/1.safetensors"
    with database.write() as session:
        session.execute(
            update(Job).values(state=state, attempt=2, checkpoint={"key": key, "step": 5, "previous": None})
        )
        abandon_attempt(session, lost)
    with database.read() as session:
        asked = set(session.scalars(select(Deletion.prefix)))
    kept = set() if is_removed else {f"jobs/{job_id}/checkpoints/1"}
    wanted = {f"jobs/{job_id}/attempts/1", f"jobs/{job_id}/checkpoints/1"}
    assert asked == wanted - kept


def test_files_of_a_success_whose_commit_was_not_acknowledged_stay(database):
    held = claim(database, add_job(database))
    file = NewArtifact(
        "student.zip", f"jobs/{held.id}/attempts/1/student.zip", 3, "0" * 64, "application/zip"
    )
    with database.write() as session:
        succeed(session, held, {}, [file])
    # The worker heard nothing, tried again, and was told that its lease is lost.
    with pytest.raises(LeaseLost), database.write() as session:
        succeed(session, held, {}, [file])
    with database.write() as session:
        abandon_attempt(session, held)
    with database.read() as session:
        assert set(session.scalars(select(Deletion.prefix))) == {f"jobs/{held.id}/checkpoints"}
