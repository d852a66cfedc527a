"""Whose job is next, and how many of an owner's run at once. On SQLite and on Postgres."""

import threading
from collections import Counter

import pytest
from sqlalchemy import update

from core import clock
from core.leases import JobError, claim_next_job, due_jobs, fail, next_job, reap_expired, release
from core.models import Job, Owner
from core.principals import SYSTEM
from core.queries.jobs import request_cancel
from core.queries.owners import ensure_owner, usage_of
from core.records import ANY_JOB, Capacity, WaitingJob
from core.settings import GIBIBYTE
from core.states import DatasetState, JobState
from tests.core.rows import add_dataset, add_job, expire_lease, get

OWNERS = ("lab", "shop", "solo")


@pytest.fixture(autouse=True)
def owners(database):
    with database.write() as session:
        for name in OWNERS:
            ensure_owner(session, name)


def queue(database, owner, count):
    dataset_id = add_dataset(database, owner=owner)
    return [add_job(database, dataset_id, owner=owner) for _ in range(count)]


def claim(database, most_running=None, worker="worker-1", capacity=ANY_JOB):
    with database.write() as session:
        return claim_next_job(session, worker, 30, most_running, capacity)


def set_limit(database, owner, most):
    with database.write() as session:
        session.execute(update(Owner).where(Owner.name == owner).values(quota_running_jobs=most))


def test_an_owner_with_many_jobs_does_not_delay_another_by_more_than_one(database):
    many, few = queue(database, "lab", 20), queue(database, "solo", 2)
    taken = []
    for _ in range(5):  # one worker, one job after the other
        held = claim(database)
        taken.append(held.id)
        with database.write() as session:
            fail(session, held, JobError("x", "x"))
    assert taken == [many[0], few[0], many[1], few[1], many[2]]


def test_several_workers_are_shared_out_evenly(database):
    for owner, count in (("lab", 30), ("shop", 10), ("solo", 3)):
        queue(database, owner, count)
    owners = Counter(get(database, Job, claim(database).id).owner for _ in range(9))
    assert owners == {"lab": 3, "shop": 3, "solo": 3}
    assert get(database, Job, claim(database).id).owner in ("lab", "shop")


def test_what_an_owner_leaves_free_others_use(database):
    jobs = queue(database, "lab", 4)
    assert [claim(database).id for _ in jobs] == jobs
    assert claim(database) is None


def test_no_more_jobs_of_an_owner_run_than_may_and_the_next_begins_when_one_ends(database):
    lab, solo = queue(database, "lab", 4), queue(database, "solo", 1)
    held = [claim(database, 2) for _ in range(3)]
    assert {each.id for each in held} == {lab[0], lab[1], solo[0]}
    assert claim(database, 2) is None
    with database.write() as session:
        assert next_job(session, 2) is None
        assert due_jobs(session, 5, 2) == [], "nothing is announced that nobody may take"
        release(session, next(each for each in held if each.id == lab[0]), "drained", False)
    assert claim(database, 2).id == lab[0]


def test_a_worker_leaves_jobs_that_want_more_devices_to_one_that_has_them(database):
    dataset_id = add_dataset(database, owner="lab")
    large, small = (
        add_job(database, dataset_id, owner="lab", options={"r": 2, "k": 4, **wanted})
        for wanted in ({"devices": 4}, {})  # jobs from before the option have none
    )
    assert claim(database, capacity=Capacity(devices=2)).id == small, (
        "the large one does not hold the queue up"
    )
    assert claim(database, capacity=Capacity(devices=2)) is None
    with database.write() as session:
        assert next_job(session, None, Capacity(devices=2)) is None
        assert due_jobs(session, 5) == [WaitingJob(large, None)], "it is still announced"
    assert claim(database, capacity=Capacity(devices=4)).id == large


def test_a_worker_leaves_jobs_that_need_more_memory_to_one_that_has_it(database):
    dataset_id = add_dataset(database, owner="lab")
    large, small, unknown = (
        add_job(database, dataset_id, owner="lab", device_bytes=needed)
        for needed in (60 * GIBIBYTE, 10 * GIBIBYTE, None)
    )
    little, much = (Capacity(device_bytes=gib * GIBIBYTE) for gib in (24, 80))
    assert [claim(database, capacity=little).id for _ in range(2)] == [small, unknown]
    assert claim(database, capacity=little) is None
    with database.write() as session:
        assert next_job(session, None, little) is None
        assert due_jobs(session, 5) == [WaitingJob(large, 60 * GIBIBYTE)], "it is still announced"
    assert claim(database, capacity=much).id == large


def test_an_owners_own_limit_goes_before_the_deployments(database):
    queue(database, "lab", 5)
    set_limit(database, "lab", 3)
    assert [claim(database, 1) is not None for _ in range(4)] == [True, True, True, False]
    set_limit(database, "lab", 0)
    queue(database, "solo", 1)
    assert get(database, Job, claim(database, 5).id).owner == "solo"
    assert claim(database, 5) is None


def test_workers_that_claim_at_once_never_exceed_the_limit_and_take_no_job_twice(database):
    for owner in OWNERS:
        queue(database, owner, 6)
    start, claims = threading.Barrier(8), []

    def contend(worker):
        start.wait()
        for _ in range(2):
            claims.append(claim(database, 2, worker))

    threads = [threading.Thread(target=contend, args=(f"worker-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [each.id for each in claims if each is not None]
    assert len(taken) == len(set(taken)) == 6
    assert Counter(get(database, Job, job_id).owner for job_id in taken) == dict.fromkeys(OWNERS, 2)


def test_jobs_that_cannot_run_are_passed_over(database):
    waiting = add_job(database, add_dataset(database, DatasetState.INGESTING, owner="lab"), owner="lab")
    first, second = queue(database, "lab", 2)
    with database.write() as session:
        request_cancel(session, first, SYSTEM)
    assert claim(database).id == second
    assert claim(database) is None
    assert get(database, Job, waiting).state is JobState.QUEUED


def test_a_job_on_several_devices_spends_the_time_of_each(database):
    dataset_id = add_dataset(database, owner="lab")
    job_id = add_job(database, dataset_id, owner="lab", options={"r": 2, "k": 4, "devices": 4})
    held = claim(database)
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(claimed_at=clock.now_plus(-100)))
    with database.read() as session:
        assert usage_of(session, "lab", 30).device_seconds == pytest.approx(400, abs=20)
    with database.write() as session:
        release(session, held, "drained", False)
    assert get(database, Job, job_id).device_seconds == pytest.approx(400, abs=20)


def test_the_time_on_a_device_is_added_up_over_attempts_and_a_workers_silence_is_free(database):
    (job_id,) = queue(database, "lab", 1)

    def spend(seconds):
        held = claim(database)
        with database.write() as session:
            ago = clock.now_plus(-seconds)
            session.execute(update(Job).where(Job.id == job_id).values(claimed_at=ago))
        return held

    held = spend(100)
    with database.write() as session:
        release(session, held, "drained", False)
    assert get(database, Job, job_id).device_seconds == pytest.approx(100, abs=5)

    spend(50)  # its worker was last heard of 20 seconds after the claim
    with database.write() as session:
        heard = clock.now_plus(-30)
        session.execute(update(Job).where(Job.id == job_id).values(heartbeat_at=heard))
    expire_lease(database, Job, job_id)
    with database.write() as session:
        assert reap_expired(session, 3) == [job_id]
    assert get(database, Job, job_id).device_seconds == pytest.approx(120, abs=5)

    held = spend(30)
    with database.write() as session:
        fail(session, held, JobError("x", "x"))
    job = get(database, Job, job_id)
    assert job.device_seconds == pytest.approx(150, abs=5)
    assert job.claimed_at is None
