"""Deletion and retention on both databases."""

import time

from sqlalchemy import select, update

from core import clock, retention
from core.deletion import delete_dataset, delete_job, remove_later
from core.models import AuditEntry, Dataset, Deletion, Job
from core.principals import SYSTEM
from core.queries import audit
from core.states import DatasetState, JobState
from tests.core.rows import add_dataset, add_job, count

DAY = 86_400


def test_a_job_and_its_dataset_go_row_by_row(database):
    dataset_id = add_dataset(database)
    job_id = add_job(database, dataset_id, JobState.SUCCEEDED, probe_dataset_id=dataset_id, started_at=None)
    with database.write() as session:
        delete_dataset(session, dataset_id, SYSTEM)
        assert retention.remove_rows(session, 30) == 0
        delete_job(session, job_id, SYSTEM)
        assert prefixes(session) == [f"datasets/{dataset_id}", f"jobs/{job_id}"]
    with database.write() as session:
        assert retention.remove_rows(session, 30) == 2
    assert (count(database, Job), count(database, Dataset)) == (0, 0)


def prefixes(session):
    return [prefix for prefix, _ in retention.next_deletions(session)]


def test_a_note_is_written_once(database):
    with database.write() as session:
        remove_later(session, ["jobs/a"])
        remove_later(session, ["jobs/b", "jobs/a"])
    with database.write() as session:
        assert set(session.scalars(select(Deletion.prefix))) == {"jobs/a", "jobs/b"}
        (removed,) = (note for note in retention.next_deletions(session) if note[0] == "jobs/a")
        retention.note_removed(session, *removed)
        assert prefixes(session) == ["jobs/b"]


def test_what_is_asked_for_again_while_it_is_swept_is_swept_again(database):
    with database.write() as session:
        remove_later(session, ["jobs/a"])
    with database.read() as session:
        (note,) = retention.next_deletions(session)
    time.sleep(0.02)  # SQLite's clock counts milliseconds
    with database.write() as session:
        remove_later(session, ["jobs/a"])
    with database.write() as session:
        retention.note_removed(session, *note)
        assert prefixes(session) == ["jobs/a"]


def test_each_kind_of_age_is_told_by_the_databases_clock(database):
    uploading = add_dataset(database, DatasetState.UPLOADING)
    failed = add_job(database, state=JobState.FAILED, attempt=1, checkpoint={"step": 1})
    with database.write() as session:
        audit.record(session, SYSTEM, "job.create", failed)
        session.execute(update(Dataset).values(updated_at=clock.now_plus(-2 * DAY)))
        session.execute(update(Job).values(finished_at=clock.now_plus(-2 * DAY)))
        session.execute(update(AuditEntry).values(created_at=clock.now_plus(-2 * DAY)))
    for days, found in ((3, ([], [], 0)), (1, ([uploading], [failed], 1))):
        with database.write() as session:
            assert retention.prune_audit(session, days) == found[2]
            assert retention.expire_uploads(session, days) == found[0]
            assert retention.expire_checkpoints(session, days) == found[1]
