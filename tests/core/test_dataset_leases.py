"""The ingest's lease, and what a failed dataset does to the jobs that wait for it."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from core.errors import LeaseLost
from core.leases import (
    IngestResult,
    JobError,
    abandon_ingest,
    claim_dataset,
    claim_job,
    complete_ingest,
    due_datasets,
    fail_dataset,
    reap_expired_datasets,
    release_dataset,
    renew,
)
from core.models import Dataset, Deletion, Job
from core.states import DatasetState, JobState
from tests.core.rows import add_dataset, add_job, expire_lease, get

RESULT = IngestResult(10, 1, 2, 5000, "datasets/x/report.json", ["cat", "dog"], {"train": 8, "test": 2})


def claim(database, dataset_id):
    with database.write() as session:
        return claim_dataset(session, dataset_id, "worker-1", 30)


def test_one_worker_ingests_and_then_the_job_can_run(database):
    dataset_id = add_dataset(database, DatasetState.INGESTING)
    job_id = add_job(database, dataset_id)
    held = claim(database, dataset_id)
    assert claim(database, dataset_id) is None
    with database.write() as session:
        assert claim_job(session, job_id, "worker-1", 30) is None
        assert due_datasets(session, 5) == []
        assert renew(session, held, 30) is False
        complete_ingest(session, held, RESULT)
    dataset = get(database, Dataset, dataset_id)
    assert (dataset.state, dataset.image_count, dataset.class_names) == (
        DatasetState.READY,
        10,
        ["cat", "dog"],
    )
    with database.write() as session:
        assert claim_job(session, job_id, "worker-1", 30) is not None


@pytest.mark.parametrize("role", ["dataset_id", "probe"])
def test_a_failed_dataset_fails_the_jobs_that_wait_for_it(database, role):
    failing = add_dataset(database, DatasetState.INGESTING)
    other = add_dataset(database)
    pair = (failing, other) if role == "dataset_id" else (other, failing)
    job_id = add_job(database, pair[0], probe_dataset_id=pair[1])
    finished = add_job(database, failing, state=JobState.SUCCEEDED)
    held = claim(database, failing)
    with database.write() as session:
        fail_dataset(session, held, JobError("archive_unsafe", "../etc/passwd leaves the archive"))
    job = get(database, Job, job_id)
    assert (job.state, job.error["code"], job.error["param"]) == (JobState.FAILED, "dataset_failed", role)
    assert "../etc/passwd" in job.error["message"]
    assert get(database, Job, finished).state is JobState.SUCCEEDED


def test_a_stale_ingest_can_write_nothing(database):
    dataset_id = add_dataset(database, DatasetState.INGESTING)
    stale = claim(database, dataset_id)
    expire_lease(database, Dataset, dataset_id)
    with database.write() as session:
        assert reap_expired_datasets(session, 3) == [dataset_id]
    assert claim(database, dataset_id).attempt == 2
    for write in (
        lambda session: complete_ingest(session, stale, RESULT),
        lambda session: fail_dataset(session, stale, JobError("x", "late")),
        lambda session: release_dataset(session, stale, "late", True),
        lambda session: renew(session, stale, 30),
    ):
        with pytest.raises(LeaseLost), database.write() as session:
            write(session)
    assert get(database, Dataset, dataset_id).state is DatasetState.INGESTING


def test_an_ingest_whose_workers_all_die_fails_with_its_jobs(database):
    dataset_id = add_dataset(database, DatasetState.INGESTING)
    job_id = add_job(database, dataset_id)
    for _ in range(2):
        claim(database, dataset_id)
        expire_lease(database, Dataset, dataset_id)
        with database.write() as session:
            reap_expired_datasets(session, 2)
    assert get(database, Dataset, dataset_id).error["code"] == "attempts_exhausted"
    assert get(database, Job, job_id).state is JobState.FAILED


def test_a_drained_ingest_waits_again(database):
    dataset_id = add_dataset(database, DatasetState.INGESTING)
    held = claim(database, dataset_id)
    with database.write() as session:
        release_dataset(session, held, "drained", False)
        assert due_datasets(session, 5) == [dataset_id]


def test_images_of_an_ingest_whose_commit_was_not_acknowledged_stay(database):
    held = claim(database, add_dataset(database, DatasetState.INGESTING))
    result = replace(RESULT, report_key=f"datasets/{held.id}/ingest/{held.attempt}/report.json")
    with database.write() as session:
        complete_ingest(session, held, result)
    # The worker heard nothing, tried again, and was told that its lease is lost.
    with pytest.raises(LeaseLost), database.write() as session:
        complete_ingest(session, held, result)
    with database.write() as session:
        abandon_ingest(session, held)
        abandon_ingest(session, replace(held, attempt=held.attempt + 1))
    with database.read() as session:
        asked = set(session.scalars(select(Deletion.prefix)))
    assert asked == {f"datasets/{held.id}/parts", f"datasets/{held.id}/ingest/{held.attempt + 1}"}
