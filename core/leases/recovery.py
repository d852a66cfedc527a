"""What the dispatcher does for jobs: find those nobody works on."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import clock
from core.leases.fence import is_due
from core.leases.jobs import datasets_ready, end_attempt
from core.leases.turns import owners_with_room
from core.models import Job
from core.records import WaitingJob
from core.states import JobState

BATCH = 100


def due_jobs(
    session: Session, resend_after_seconds: float, most_running: int | None = None
) -> Sequence[WaitingJob]:
    """Jobs that could run now and that the workers should hear of (again)."""
    has_room = Job.owner.in_(owners_with_room(most_running).order_by(None))
    statement = (
        select(Job.id, Job.device_bytes)
        .where(Job.state == JobState.QUEUED, datasets_ready(), is_due(Job, resend_after_seconds), has_room)
        .order_by(Job.id)
        .limit(BATCH)
    )
    return [WaitingJob(*row) for row in session.execute(statement)]


def reap_expired(session: Session, max_attempts: int) -> list[str]:
    """Take jobs from workers that fell silent: back to the queue, or failed after `max_attempts`.

    Returns:
        The ids of the jobs taken.
    """
    expired = session.scalars(
        select(Job)
        .where(Job.state == JobState.RUNNING, Job.lease_expires_at < clock.now())
        .order_by(Job.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    for job in expired:
        end_attempt(session, job, "its worker fell silent", charge_attempt=True, max_attempts=max_attempts)
    return [job.id for job in expired]
