"""Trainers and workers die, stand still, or are told to stop, in the middle of a job."""

import os
import signal

import pytest

from tests.e2e.service import wait_for
from tests.faults.cluster import LEASE_SECONDS, Cluster
from tests.faults.conftest import Strike

pytestmark = pytest.mark.timeout(900)


def test_a_trainer_is_killed(cluster: Cluster, strike: Strike) -> None:
    fault = strike("SIGKILL of the trainer")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    with fault.injected(job_id):
        os.kill(machine.trainer(job_id), signal.SIGKILL)
    job = cluster.wait_for_end(job_id)
    assert job["attempt"] == 2
    messages = [each["message"] for each in cluster.events(job_id)]
    assert any("SIGKILL" in message and "memory" in message for message in messages)
    assert any("Resuming from step" in message for message in messages)


@pytest.mark.parametrize("and_trainer", [False, True], ids=["alone", "with its trainer"])
def test_a_worker_is_killed(cluster: Cluster, strike: Strike, and_trainer: bool) -> None:
    fault = strike("SIGKILL of worker and trainer" if and_trainer else "SIGKILL of the worker")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    trainer = machine.trainer(job_id)
    with fault.injected(job_id):
        if and_trainer:
            os.kill(trainer, signal.SIGKILL)
        machine.stop(signal.SIGKILL)
        wait_for(lambda: not _is_running(trainer), 20)
    machine.start()
    assert cluster.wait_for_end(job_id)["attempt"] == 2
    assert any("its worker fell silent" in each["message"] for each in cluster.events(job_id))


def test_a_worker_stands_still_past_its_lease(cluster: Cluster, strike: Strike) -> None:
    fault = strike("SIGSTOP past the lease, then SIGCONT")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    trainer = machine.trainer(job_id)
    with fault.injected(job_id), machine.standing_still(trainer):
        wait_for(lambda: cluster.row(job_id)["attempt"] == 2, 20 * LEASE_SECONDS)
    wait_for(lambda: not _is_running(trainer), 30)
    assert any(f"Attempt 1 no longer holds the job {job_id}." in line["message"] for line in machine.log())
    assert cluster.wait_for_end(job_id)["attempt"] == 2


def test_a_worker_is_told_to_stop(cluster: Cluster, strike: Strike) -> None:
    fault = strike("SIGTERM of the worker")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    with fault.injected(job_id):
        machine.stop(signal.SIGTERM)
    machine.start()
    cluster.wait_for_end(job_id)
    assert cluster.row(job_id)["failed_attempts"] == 0, "it is not charged"


def test_a_job_whose_trainer_always_dies_ends_and_can_be_tried_again(
    cluster: Cluster, strike: Strike
) -> None:
    fault = strike("every trainer of a job dies")
    job_id = fault.start()
    for attempt in (1, 2, 3):
        wait_for(lambda number=attempt: cluster.row(job_id)["attempt"] == number)
        machine = cluster.holder(job_id)
        fault.times += 1
        os.kill(machine.trainer(job_id, attempt), signal.SIGKILL)
    job = cluster.wait_for_end(job_id)
    assert (job["state"], job["error"]["code"], job["error"]["retryable"]) == (
        "failed",
        "attempts_exhausted",
        True,
    )
    assert "SIGKILL" in job["error"]["message"]
    cluster.post(f"/jobs/{job_id}/retry", status=200)
    wait_for(lambda: cluster.job(job_id)["state"] == "succeeded", 240)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
