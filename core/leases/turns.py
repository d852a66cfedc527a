"""Whose turn it is: a fair order between owners, and how many jobs of one may run at once.

A message wakes a worker; which job it gets is decided here. The next one belongs to the owner with the fewest running
jobs, among those to the one who was served longest ago, and is that owner's oldest. So an owner with a thousand jobs
in the queue delays another's only one by no more than the job that is running.
"""

from typing import Final

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from core import clock
from core.leases.jobs import claim_job, claimable
from core.models import Job, Owner
from core.records import ANY_JOB, Capacity, Claim, WaitingJob
from core.states import JobState

POSTGRES_LOCK: Final = 7_236_403
"""Claims are made one after the other, so that two workers cannot both take an owner's last place."""


def claim_next_job(
    session: Session,
    worker_id: str,
    lease_seconds: float,
    most_running: int | None,
    capacity: Capacity = ANY_JOB,
) -> Claim | None:
    """Take the job whose turn it is; None when none is to be had.

    Args:
        session: of a transaction that does nothing else.
        worker_id: who takes it.
        lease_seconds: for how long.
        most_running: jobs of an owner that may run at once, where the owner has no number of its own; None: any.
        capacity: of the worker; jobs that need more are left to others.
    """
    # On SQLite the transaction of a writer is the lock.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": POSTGRES_LOCK})
    while (job := next_job(session, most_running, capacity)) is not None:
        claim = claim_job(session, job.id, worker_id, lease_seconds)
        if claim is not None:
            _note_turn(session, job.id)
            return claim
        # Cancelled in this very moment: it is not found again.
    return None


def next_job(session: Session, most_running: int | None, capacity: Capacity = ANY_JOB) -> WaitingJob | None:
    """The job that a worker of this capacity would get now."""
    waiting = exists(select(Job.id).where(Job.owner == Owner.name, claimable(capacity)))
    owner = session.scalar(owners_with_room(most_running).where(waiting).limit(1))
    if owner is None:
        return None
    statement = select(Job.id, Job.device_bytes).where(Job.owner == owner, claimable(capacity))
    oldest = session.execute(statement.order_by(Job.id).limit(1)).one_or_none()
    return None if oldest is None else WaitingJob(*oldest)


def owners_with_room(most_running: int | None) -> Select[str]:
    """Names of the owners of whom another job may run, in the order of their turns."""
    running = (
        select(Job.owner, func.count().label("count"))
        .where(Job.state == JobState.RUNNING)
        .group_by(Job.owner)
        .subquery()
    )
    count = func.coalesce(running.c.count, 0)
    return (
        select(Owner.name)
        .outerjoin(running, running.c.owner == Owner.name)
        .where(_has_room(count, most_running))
        .order_by(count, Owner.last_served_at.asc().nulls_first(), Owner.name)
    )


def _has_room(count: ColumnElement[int], most_running: int | None) -> ColumnElement[bool]:
    if most_running is None:
        return or_(Owner.quota_running_jobs.is_(None), count < Owner.quota_running_jobs)
    return count < func.coalesce(Owner.quota_running_jobs, most_running)


def _note_turn(session: Session, job_id: str) -> None:
    owner = select(Job.owner).where(Job.id == job_id).scalar_subquery()
    session.execute(
        update(Owner)
        .where(Owner.name == owner)
        .values(last_served_at=clock.now(), updated_at=Owner.updated_at)
        .execution_options(synchronize_session=False)
    )
