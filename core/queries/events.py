"""Queries on `job_events`."""

from collections.abc import Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from core.models import Job, JobEvent
from core.records import NewEvent
from core.states import EventType, JobState
from core.webhooks.outbox import tell_of_job


def append_events(session: Session, job_id: str, attempt: int, events: Sequence[NewEvent]) -> None:
    """Number the events and store them, in the transaction of the change they describe.

    The one place that every change of a job's state passes: the owner's webhooks are told from here.
    """
    if not events:
        return
    last, owner = session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(event_count=Job.event_count + len(events))
        .returning(Job.event_count, Job.owner)
        .execution_options(synchronize_session=False)
    ).one()
    first = last - len(events) + 1
    rows = [
        {
            "job_id": job_id,
            "seq": seq,
            "level": event.level,
            "type": event.type,
            "message": event.message,
            "data": event.data,
            "attempt": attempt,
        }
        for seq, event in enumerate(events, start=first)
    ]
    session.execute(insert(JobEvent), rows)
    for event in events:
        if event.type is EventType.STATE:
            state = JobState(event.data["state"])
            tell_of_job(session, owner, job_id, state, attempt, event.data.get("error"))


def list_events(session: Session, job_id: str, after: int, limit: int) -> Sequence[JobEvent]:
    """The job's events with `seq` greater than `after`, oldest first."""
    statement = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.seq > after)
        .order_by(JobEvent.seq)
        .limit(limit)
    )
    return session.scalars(statement).all()
