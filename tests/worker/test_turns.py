"""A message wakes a worker, and the rows say which job it takes."""

import dataclasses

import pytest
from sqlalchemy import update

from core import leases
from core.leases import JobError
from core.models import Dataset, Job
from core.states import DatasetState, JobState
from tests.core.rows import add_dataset, add_job, get
from tests.worker.test_dispatcher import received
from worker.datasets import make_spec
from worker.jobs import JobWork, run_next_job
from worker.runtime import Runtime

TEACHER = {
    "name": "sample", "kind": "bundled", "source": "samples/digits_teacher", "architecture": "vit",
    "image_size": 32, "depth": 12, "embed_dim": 64,
}  # fmt: skip


def with_settings(runtime: Runtime, **changed: int) -> Runtime:
    return dataclasses.replace(runtime, settings=runtime.settings.model_copy(update=changed))


def test_a_job_waits_for_its_owners_other_one_and_a_worker_that_ends_a_job_sends_for_the_next(
    runtime: Runtime, monkeypatch
) -> None:
    # A child that cannot read its specification dies at once; the job is queued again.
    monkeypatch.setattr(JobWork, "module", "tests.worker.scripted_child")
    limited = with_settings(runtime, quota_running_jobs=1)
    dataset_id = add_dataset(runtime.database)
    first, second = (add_job(runtime.database, dataset_id) for _ in range(2))
    with runtime.database.write() as session:
        session.execute(update(Job).values(teacher=TEACHER))
        session.execute(update(Dataset).values(report_key="report.json"))
    held = runtime.write(lambda s: leases.claim_job(s, first, "another", 30))

    run_next_job(limited)
    assert get(runtime.database, Job, second).attempt == 0
    assert received(runtime) == []

    runtime.write(lambda s: leases.fail(s, held, JobError("x", "x")))
    run_next_job(limited)
    job = get(runtime.database, Job, second)
    assert (job.attempt, job.state) == (1, JobState.QUEUED)
    assert received(runtime) == [second], "the one that may run now"
    assert job.device_seconds > 0

    run_next_job(limited)  # the last attempt
    assert get(runtime.database, Job, second).state is JobState.FAILED
    assert received(runtime) == []


def test_an_ingest_takes_no_more_images_than_its_owner_may_still_have(runtime: Runtime) -> None:
    add_dataset(runtime.database)
    with runtime.database.write() as session:
        session.execute(update(Dataset).values(image_count=7))
    waiting = add_dataset(runtime.database, DatasetState.INGESTING)
    claim = runtime.write(lambda s: leases.claim_dataset(s, waiting, "worker-1", 30))
    for quota, most in ((10, 3), (7, 0), (5, 0), (10**9, runtime.settings.max_dataset_images)):
        with runtime.database.read() as session:
            assert make_spec(session, claim, with_settings(runtime, quota_images=quota)).max_images == most
    with runtime.database.read() as session:
        assert make_spec(session, claim, runtime).max_images == runtime.settings.max_dataset_images


@pytest.mark.parametrize("side", [0, 640])
def test_an_ingest_stores_images_no_larger_than_the_deployment_says(runtime: Runtime, side: int) -> None:
    waiting = add_dataset(runtime.database, DatasetState.INGESTING)
    claim = runtime.write(lambda s: leases.claim_dataset(s, waiting, "worker-1", 30))
    with runtime.database.read() as session:
        assert make_spec(session, claim, with_settings(runtime, max_stored_side=side)).stored_side == side
