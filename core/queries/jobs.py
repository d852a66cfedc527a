"""Queries on `jobs`."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import clock
from core.errors import NotFound
from core.models import Job
from core.principals import Principal
from core.queries.events import append_events
from core.queries.paging import ListFilter, Page, fetch_page
from core.records import NewEvent
from core.states import EventType, JobState


def add_job(session: Session, job: Job) -> None:
    """Store a new job with its first event."""
    session.add(job)
    session.flush()
    queued = NewEvent(EventType.STATE, "The job is queued.", {"state": JobState.QUEUED.value})
    append_events(session, job.id, 0, [queued])


def get_job(session: Session, job_id: str, viewer: Principal) -> Job:
    """The job of that id.

    Raises:
        NotFound: when there is none in sight.
    """
    job = session.get(Job, job_id, populate_existing=True)
    if job is None or not viewer.may_see(job.owner):
        raise NotFound("job", job_id)
    return job


def list_jobs(
    session: Session, wanted: ListFilter, state: JobState | None, cursor: str | None, limit: int
) -> Page[Job]:
    """Jobs, newest first."""
    statement = select(Job).where(wanted.on(Job.owner))
    if state is not None:
        statement = statement.where(Job.state == state)
    return fetch_page(session, statement, Job.id, cursor, limit)


def request_cancel(session: Session, job_id: str, viewer: Principal) -> tuple[Job, bool]:
    """Cancel a queued job at once; ask the worker of a running one; leave a finished one as it is.

    Returns:
        The job, and whether this call changed it.

    Raises:
        NotFound: when there is none in sight.
    """
    statement = select(Job).where(Job.id == job_id).with_for_update()
    job = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if job is None or not viewer.may_see(job.owner):
        raise NotFound("job", job_id)
    if job.state is JobState.QUEUED:
        _stamp(
            session, job, state=JobState.CANCELLED, finished_at=clock.now(), cancel_requested_at=clock.now()
        )
        event = NewEvent(EventType.STATE, "The job was cancelled.", {"state": JobState.CANCELLED.value})
    elif job.state is JobState.RUNNING and job.cancel_requested_at is None:
        _stamp(session, job, cancel_requested_at=clock.now())
        event = NewEvent(EventType.LOG, "Cancel was requested.", {"cancel_requested": True})
    else:
        return job, False
    append_events(session, job_id, job.attempt, [event])
    return job, True


def _stamp(session: Session, job: Job, **values: object) -> None:
    session.execute(
        update(Job).where(Job.id == job.id).values(**values).execution_options(synchronize_session=False)
    )
    session.refresh(job)
