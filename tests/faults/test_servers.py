"""Postgres, Redis and the object store go away, hang, forget or refuse, for all of us or for one worker."""

import time
from contextlib import nullcontext

import pytest

from tests.e2e.service import QUICK, wait_for
from tests.faults.cluster import LEASE_SECONDS, Cluster
from tests.faults.conftest import Strike

pytestmark = pytest.mark.timeout(900)
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("server", ["database", "broker", "store"])
def test_a_worker_is_cut_off_for_less_than_its_lease(cluster: Cluster, strike: Strike, server: str) -> None:
    fault = strike(f"a worker's way to the {server} is cut for {LEASE_SECONDS / 2:g} s")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    with fault.injected(job_id), getattr(machine, server).away():
        time.sleep(LEASE_SECONDS / 2)
    assert cluster.wait_for_end(job_id)["attempt"] == 1, "the training has gone on meanwhile"


def test_a_worker_is_cut_off_from_the_database_past_its_lease(cluster: Cluster, strike: Strike) -> None:
    fault = strike("a worker's connections to the database hang past its lease")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    with fault.injected(job_id), machine.database.silent():
        wait_for(lambda: cluster.row(job_id)["attempt"] == 2, 20 * LEASE_SECONDS)
    assert cluster.wait_for_end(job_id)["attempt"] == 2
    wait_for(
        lambda: f"Attempt 1 no longer holds the job {job_id}." in [each["message"] for each in machine.log()]
    )


def test_the_store_fails_while_checkpoints_are_due_and_while_the_student_is_delivered(
    cluster: Cluster, strike: Strike
) -> None:
    fault = strike("the store answers 500 until the student is to be stored")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    with machine.store.answering(BROKEN):
        wait_for(lambda: cluster.job(job_id)["phase"] == "publishing", 240)
        said = wait_for(
            lambda: [each for each in cluster.events(job_id) if "waiting for it" in each["message"]], 240
        )
        assert said[0]["level"] == "warning"
        with fault.injected(job_id):
            pass
    job = cluster.wait_for_end(job_id)
    assert job["attempt"] == 1
    messages = [each["message"] for each in cluster.events(job_id)]
    assert any("could not be stored" in message for message in messages)
    assert "The object store answers again." in messages


def test_the_last_checkpoint_is_torn(cluster: Cluster, strike: Strike) -> None:
    fault = strike("the last checkpoint is torn and its trainer dies")
    job_id = fault.start()
    cluster.wait_for_step(job_id, 20)
    wait_for(lambda: (cluster.row(job_id)["checkpoint"] or {}).get("previous"))
    machine = cluster.holder(job_id)
    with fault.injected(job_id):
        machine.stop(9)
        torn = cluster.row(job_id)["checkpoint"]
        cluster.storage.put_bytes(torn["key"], cluster.storage.get_bytes(torn["key"])[:-100])
    machine.start()
    cluster.wait_for_end(job_id)
    messages = [each["message"] for each in cluster.events(job_id)]
    assert f"The checkpoint of step {torn['step']} is gone or damaged." in messages
    assert f"Resuming from step {torn['previous']['step']}." in messages


@pytest.mark.parametrize("how", ["restarts", "hangs"])
def test_the_database_goes_away_under_a_job(cluster: Cluster, strike: Strike, how: str) -> None:
    fault = strike(f"Postgres {how} under a job")
    job_id = fault.start()
    cluster.wait_for_checkpoint(job_id, 20)
    postgres = cluster.servers.postgres
    fault.times += 1
    if how == "restarts":
        postgres.stop()
        answer = cluster.http.get(f"/jobs/{job_id}")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        postgres.start()
    with fault.injected(job_id) if how == "hangs" else nullcontext():
        if how == "hangs":
            fault.times -= 1
            with postgres.standing_still():
                time.sleep(1.5 * LEASE_SECONDS)
    cluster.wait_for_end(job_id)


def test_the_database_goes_away_before_it_acknowledges_a_success(cluster: Cluster, strike: Strike) -> None:
    fault = strike("a worker does not hear that its success was committed")
    job_id = fault.start()
    machine = cluster.wait_for_checkpoint(job_id, 20)
    fault.times += 1
    machine.database.commits_after = b"INSERT INTO artifacts"
    assert cluster.wait_for_end(job_id)["attempt"] == 1
    wait_for(
        lambda: f"Attempt 1 no longer holds the job {job_id}." in [each["message"] for each in machine.log()]
    )
    # Whatever the worker has asked for is swept by then; that the student is whole is seen when the fault is settled.
    wait_for(lambda: not any("/checkpoints/" in key for key in cluster.objects(job_id)))
    time.sleep(3 * float(QUICK["WECOLORA_SWEEP_INTERVAL_SECONDS"]))


@pytest.mark.parametrize("how", ["forgets", "restarts", "is full", "hangs"])
def test_the_queue_fails_while_a_job_is_made(cluster: Cluster, strike: Strike, how: str) -> None:
    fault = strike(f"Redis {how} while a job is made")
    redis = cluster.servers.redis
    workers = cluster["a"], cluster["b"]
    fault.times += 1
    started = time.monotonic()
    if how == "forgets":
        with workers[0].standing_still(), workers[1].standing_still():
            job_id = fault.start()
            redis.run("FLUSHALL")
    elif how == "restarts":
        redis.stop()
        job_id = fault.start()
        redis.start()
    elif how == "is full":
        redis.run("CONFIG", "SET", "maxmemory", "1")
        job_id = fault.start()
        redis.run("CONFIG", "SET", "maxmemory", "0")
    else:
        with cluster["api"].broker.silent(), cluster["dispatcher"].broker.silent():
            job_id = fault.start()
            assert time.monotonic() - started < 15, "who makes a job does not wait for the queue"
    cluster.wait_for_step(job_id, 1)
    fault.seconds.append(time.monotonic() - started)
    assert cluster.wait_for_end(job_id)["attempt"] == 1
