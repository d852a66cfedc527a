"""Queries on `jobs`."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Row, case, func, select, update
from sqlalchemy.orm import Session

from core import clock
from core.errors import NotFound, WrongState
from core.models import Job
from core.principals import Principal
from core.queries.events import append_events
from core.queries.paging import Page, RowFilter, fetch_page
from core.records import NewEvent
from core.states import RETRYABLE, EventType, JobState


def devices_of() -> ColumnElement[int]:
    """How many devices a job asks for; 1 for jobs that were stored before one could."""
    return func.coalesce(Job.options["devices"].as_integer(), 1)


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
    if job is None or job.deleted_at is not None or not viewer.may_see(job.owner):
        raise NotFound("job", job_id)
    return job


def list_event_counts(session: Session, job_ids: Collection[str]) -> Sequence[Row[str, int, JobState]]:
    """`id`, `event_count` and `state` of those of the jobs that are there."""
    statement = select(Job.id, Job.event_count, Job.state)
    return session.execute(statement.where(Job.id.in_(job_ids), Job.deleted_at.is_(None))).all()


def lock_job(session: Session, job_id: str, viewer: Principal) -> Job:
    """The job of that id, which nobody else changes until this transaction ends.

    Raises:
        NotFound: when there is none in sight.
    """
    statement = select(Job).where(Job.id == job_id).with_for_update()
    job = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if job is None or job.deleted_at is not None or not viewer.may_see(job.owner):
        raise NotFound("job", job_id)
    return job


def list_jobs(
    session: Session, wanted: RowFilter, state: JobState | None, cursor: str | None, limit: int
) -> Page[Job]:
    """Jobs, newest first."""
    statement = select(Job).where(*wanted.matching(Job), Job.deleted_at.is_(None))
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
    job = lock_job(session, job_id, viewer)
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


def requeue(session: Session, job: Job) -> None:
    """Let a failed or cancelled job, locked by the caller, wait for a worker again.

    `attempt` goes on counting, so that whatever is left of an older attempt can write nothing; the charge for failed
    attempts begins anew. The checkpoint stays, and so does the time that the job has had on devices.

    Raises:
        WrongState: when the job is in another state.
    """
    if job.state not in RETRYABLE:
        raise WrongState("job", job.id, job.state, " or ".join(sorted(RETRYABLE)))
    _stamp(
        session,
        job,
        state=JobState.QUEUED,
        failed_attempts=0,
        error=None,
        cancel_requested_at=None,
        finished_at=None,
        phase=None,
        progress=None,
        # Its time counts for the owner's period in which it runs.
        started_at=case((Job.started_at.is_not(None), clock.now())),
        last_sent_at=None,
        send_count=0,
    )
    step = (job.checkpoint or {}).get("step")
    resumes = "starts anew" if step is None else f"resumes from step {step}"
    message = f"The job is tried again and {resumes}."
    data = {"state": JobState.QUEUED.value, "retry": True, "step": step}
    append_events(session, job.id, job.attempt, [NewEvent(EventType.STATE, message, data)])


def _stamp(session: Session, job: Job, **values: object) -> None:
    session.execute(
        update(Job).where(Job.id == job.id).values(**values).execution_options(synchronize_session=False)
    )
    session.refresh(job)
