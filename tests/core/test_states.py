"""Every operation from every state: the state afterwards is the same or one that LEGAL allows."""

from contextlib import suppress

import pytest
from sqlalchemy import update

from core.errors import LeaseLost, WrongState
from core.leases import (
    Claim,
    JobError,
    cancelled,
    claim_job,
    fail,
    reap_expired,
    release,
    succeed,
)
from core.models import Job
from core.principals import SYSTEM
from core.queries.jobs import lock_job, request_cancel, requeue
from core.states import LEGAL, TERMINAL, JobState, sources
from tests.core.rows import add_job, expire_lease, get

HOLDER = "worker-1"


def _reap(session, claim):
    expire = update(Job).where(Job.id == claim.id, Job.state == JobState.RUNNING)
    session.execute(expire.values(lease_expires_at=Job.created_at))
    reap_expired(session, max_attempts=3)


def _retry(session, claim):
    with suppress(WrongState):
        requeue(session, lock_job(session, claim.id, SYSTEM))


OPERATIONS = {
    "claim": (lambda session, claim: claim_job(session, claim.id, "worker-2", 30), JobState.RUNNING),
    "succeed": (lambda session, claim: succeed(session, claim, {}, []), JobState.SUCCEEDED),
    "fail": (lambda session, claim: fail(session, claim, JobError("x", "broken")), JobState.FAILED),
    "cancelled": (lambda session, claim: cancelled(session, claim), JobState.CANCELLED),
    "release": (lambda session, claim: release(session, claim, "drained", False), JobState.QUEUED),
    "reap": (_reap, JobState.QUEUED),
    "retry": (_retry, JobState.QUEUED),
    "cancel": (lambda session, claim: request_cancel(session, claim.id, SYSTEM), JobState.CANCELLED),
}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_moves_a_job_only_where_the_table_says(sqlite, state, operation):
    act, target = OPERATIONS[operation]
    holds = {"attempt": 1, "worker_id": HOLDER} if state is JobState.RUNNING else {"attempt": 1}
    job_id = add_job(sqlite, state=state, **holds)
    try:
        with sqlite.write() as session:
            act(session, Claim("job", job_id, 1, HOLDER))
    except LeaseLost:
        pass
    after = get(sqlite, Job, job_id)
    assert after.state is state or after.state in LEGAL[state]
    if operation == "retry":
        assert after.state is (target if state in (JobState.FAILED, JobState.CANCELLED) else state)
    elif state in TERMINAL:
        assert after.state is state
    needs_holder = operation not in ("claim", "cancel", "retry")
    if state is JobState.RUNNING and needs_holder:
        assert after.state is target
    if state is JobState.QUEUED:
        expected = state if needs_holder else target
        assert after.state is expected
    assert (after.finished_at is not None) == (after.state is not state and after.state in TERMINAL)


def test_the_table_names_every_state():
    assert set(LEGAL) == set(JobState)
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == TERMINAL


@pytest.mark.parametrize("target", JobState)
def test_sources_are_the_inverse_of_the_table(target):
    assert sources(target) == {state for state in JobState if target in LEGAL[state]}


def test_expiry_of_a_finished_job_changes_nothing(sqlite):
    job_id = add_job(sqlite, state=JobState.SUCCEEDED)
    expire_lease(sqlite, Job, job_id)
    with sqlite.write() as session:
        assert reap_expired(session, 3) == []
