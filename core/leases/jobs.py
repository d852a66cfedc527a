"""What the holder of a job may do."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, and_, case, exists, func, insert, or_, select, true, update
from sqlalchemy.orm import Session

from core import clock
from core.deletion import remove_later
from core.errors import LeaseLost
from core.leases.fence import AWAITING_WORKER, RELEASED, fenced_update, held
from core.models import Artifact, Dataset, Job
from core.queries.events import append_events
from core.queries.jobs import devices_of
from core.records import ANY_JOB, Capacity, Claim, JobError, JsonObject, NewArtifact, NewEvent
from core.states import COUNTING, DatasetState, EventLevel, EventType, JobState, Phase, sources


def state_event(state: JobState, message: str, data: JsonObject | None = None) -> NewEvent:
    """The event of a move to `state`."""
    level = EventLevel.ERROR if state is JobState.FAILED else EventLevel.INFO
    return NewEvent(EventType.STATE, message, {"state": state.value, **(data or {})}, level)


def datasets_ready() -> ColumnElement[bool]:
    """True for a job whose images, and probe images if any, are ready."""

    def ready(column: ColumnElement[str | None]) -> ColumnElement[bool]:
        return exists(select(Dataset.id).where(Dataset.id == column, Dataset.state == DatasetState.READY))

    probe = Job.probe_dataset_id
    return and_(
        ready(Job.__table__.c.dataset_id), or_(probe.is_(None), ready(Job.__table__.c.probe_dataset_id))
    )


def claimable(capacity: Capacity = ANY_JOB) -> ColumnElement[bool]:
    """True for a job that a worker of this capacity could start now."""
    return and_(
        _fits(capacity),
        Job.state.in_(sources(JobState.RUNNING)),
        Job.cancel_requested_at.is_(None),
        datasets_ready(),
    )


def _fits(capacity: Capacity) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if capacity.devices is not None:
        conditions.append(devices_of() <= capacity.devices)
    if capacity.device_bytes is not None:
        conditions.append(func.coalesce(Job.device_bytes, 0) <= capacity.device_bytes)
    return and_(*conditions)


def claim_job(session: Session, job_id: str, worker_id: str, lease_seconds: float) -> Claim | None:
    """Take a queued job whose datasets are ready; None when it is not to be had.

    Workers take what `core.leases.turns.claim_next_job` gives them.
    """
    statement = (
        update(Job)
        .where(Job.id == job_id, claimable())
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            worker_id=worker_id,
            lease_expires_at=clock.now_plus(lease_seconds),
            heartbeat_at=clock.now(),
            started_at=func.coalesce(Job.started_at, clock.now()),
            claimed_at=clock.now(),
        )
        .returning(Job.attempt)
        .execution_options(synchronize_session=False)
    )
    attempt = session.execute(statement).scalar_one_or_none()
    if attempt is None:
        return None
    started = NewEvent(
        EventType.ATTEMPT, f"Attempt {attempt} started.", {"attempt": attempt, "worker": worker_id}
    )
    append_events(session, job_id, attempt, [state_event(JobState.RUNNING, "The job is running."), started])
    return Claim("job", job_id, attempt, worker_id)


def set_phase(session: Session, claim: Claim, phase: Phase) -> None:
    """Say what the job is doing now."""
    anew: JsonObject = {"progress": None, "estimated_finish_at": None} if phase in COUNTING else {}
    fenced_update(session, claim, {"phase": phase, **anew})
    event = NewEvent(EventType.PHASE, f"Phase: {phase.value}.", {"phase": phase.value})
    append_events(session, claim.id, claim.attempt, [event])


def record_progress(
    session: Session, claim: Claim, progress: JsonObject, events: Sequence[NewEvent] = ()
) -> None:
    """Store how far the job is; `progress["seconds_left"]`, when known, gives the estimated finish."""
    seconds_left = progress.get("seconds_left")
    finish = None if seconds_left is None else clock.now_plus(float(seconds_left))
    fenced_update(session, claim, {"progress": progress, "estimated_finish_at": finish})
    append_events(session, claim.id, claim.attempt, events)


def record_checkpoint(
    session: Session,
    claim: Claim,
    newest: JsonObject,
    previous: JsonObject | None = None,
    unused: Iterable[str] = (),
) -> None:
    """Name the checkpoint to resume from, and one to fall back on. The row is the manifest: store the object first.

    A job that is further than before has overcome what ended its earlier attempts: they are charged no more. So a
    job of days is not given up for three accidents, and one that always ends in the same place is.

    Args:
        session: of the write.
        claim: of the job.
        newest: its `key`, `sha256` and `step`.
        previous: the same of an older one.
        unused: keys of those that are needed no more.
    """
    furthest = func.coalesce(Job.checkpoint["step"].as_integer(), 0)
    charged = case((furthest < newest["step"], 0), else_=Job.failed_attempts)
    fenced_update(session, claim, {"checkpoint": newest | {"previous": previous}, "failed_attempts": charged})
    remove_later(session, unused)


def succeed(session: Session, claim: Claim, result: JsonObject, artifacts: Sequence[NewArtifact]) -> None:
    """Finish the job and publish its files, in one transaction."""
    _finish(session, claim, JobState.SUCCEEDED, {"result": result, "error": None})
    rows = [{**vars(artifact), "job_id": claim.id, "attempt": claim.attempt} for artifact in artifacts]
    if rows:
        session.execute(insert(Artifact), rows)
    published = [
        NewEvent(
            EventType.ARTIFACT,
            f"{artifact.name} is ready.",
            {"name": artifact.name, "size_bytes": artifact.size_bytes, "sha256": artifact.sha256},
        )
        for artifact in artifacts
    ]
    remove_later(session, [f"jobs/{claim.id}/checkpoints"])
    done = state_event(JobState.SUCCEEDED, "The job succeeded.")
    append_events(session, claim.id, claim.attempt, [*published, done])


def fail(session: Session, claim: Claim, error: JobError) -> None:
    """End the job for good; for a fault of the moment use `release`."""
    _finish(session, claim, JobState.FAILED, {"error": error.to_dict()})
    discard_attempt(session, claim)
    event = state_event(JobState.FAILED, error.message, {"error": error.to_dict()})
    append_events(session, claim.id, claim.attempt, [event])


def cancelled(session: Session, claim: Claim) -> None:
    """End the job because the user asked for it."""
    _finish(session, claim, JobState.CANCELLED, {})
    discard_attempt(session, claim)
    event = state_event(JobState.CANCELLED, "The job was cancelled.")
    append_events(session, claim.id, claim.attempt, [event])


def release(
    session: Session, claim: Claim, reason: str, charge_attempt: bool, *, max_attempts: int = 3
) -> JobState:
    """Give the job back so that another attempt resumes it.

    Charge the attempt when it ended by a fault (the trainer crashed), not when the worker was told to stop.

    Returns:
        What the job became: queued, cancelled when the user had asked for it, failed after the last attempt.

    Raises:
        LeaseLost: when the claim is stale.
    """
    job = session.scalars(
        select(Job).where(held(claim)).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if job is None:
        raise LeaseLost(claim.kind, claim.id, claim.attempt)
    return end_attempt(session, job, reason, charge_attempt, max_attempts)


def end_attempt(session: Session, job: Job, reason: str, charge_attempt: bool, max_attempts: int) -> JobState:
    """Move a running job, locked by the caller, to where it goes when its attempt ends unfinished."""
    if charge_attempt:
        job.failed_attempts += 1
    if job.cancel_requested_at is not None:
        job.state = JobState.CANCELLED
        event = state_event(JobState.CANCELLED, "The job was cancelled.")
    elif charge_attempt and job.failed_attempts >= max_attempts:
        message = f"Gave up after {job.failed_attempts} attempts; the last one ended so: {reason}"
        job.state = JobState.FAILED
        job.error = JobError("attempts_exhausted", message, retryable=True).to_dict()
        event = state_event(JobState.FAILED, message, {"error": job.error})
    else:
        job.state = JobState.QUEUED
        data: JsonObject = {"reason": reason, "charged": charge_attempt}
        event = state_event(JobState.QUEUED, f"Attempt {job.attempt} ended: {reason}", data)
    job.phase = None
    job.estimated_finish_at = None
    for column, value in {**AWAITING_WORKER, **_spent()}.items():
        setattr(job, column, value)
    session.flush()
    # Whoever stored its files may be unable to remove them.
    remove_later(session, [_files_of(job.id, job.attempt)])
    if job.state is not JobState.QUEUED:
        set_finished(session, job.id)
    append_events(session, job.id, job.attempt, [event])
    return job.state


def discard_attempt(session: Session, claim: Claim) -> None:
    """Have the files that an attempt has stored removed; its lease may be lost."""
    remove_later(session, [_files_of(claim.id, claim.attempt)])


def abandon_attempt(session: Session, claim: Claim) -> None:
    """Have everything removed that an attempt whose lease is lost may have stored, and that its job does not need.

    Its trainer may have stored a checkpoint after another attempt has succeeded and what was there was removed. And the
    lease may be lost by the attempt's own success, whose commit was not acknowledged by a database that went away: then
    its files are the job's.
    """
    has_published = exists(
        select(Artifact.name).where(Artifact.job_id == claim.id, Artifact.attempt == claim.attempt)
    )
    if session.scalar(select(has_published)):
        return
    discard_attempt(session, claim)
    folder = f"jobs/{claim.id}/checkpoints/{claim.attempt}"
    unfinished = Job.deleted_at.is_(None), Job.state != JobState.SUCCEEDED
    newest = session.scalar(select(Job.checkpoint).where(Job.id == claim.id, *unfinished)) or {}
    named = [each["key"] for each in (newest, newest.get("previous")) if each]
    if not any(key.startswith(f"{folder}/") for key in named):
        remove_later(session, [folder])


def _files_of(job_id: str, attempt: int) -> str:
    return f"jobs/{job_id}/attempts/{attempt}"


def set_finished(session: Session, job_id: str) -> None:
    """Stamp the end by the database's clock."""
    session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(finished_at=clock.now())
        .execution_options(synchronize_session=False)
    )


def _finish(session: Session, claim: Claim, state: JobState, values: JsonObject) -> None:
    ended = {"state": state, "finished_at": clock.now(), "estimated_finish_at": None, "phase": None}
    fenced_update(session, claim, {**ended, **_spent(), **RELEASED, **values})


def _spent() -> JsonObject:
    """Values that add the attempt's time, up to the last sign of life: nobody pays for a worker's silence."""
    is_silent = Job.lease_expires_at < clock.now()
    until = case((is_silent, Job.heartbeat_at), else_=clock.now())
    spent = devices_of() * func.coalesce(clock.seconds_between(Job.claimed_at, until), 0.0)
    return {"device_seconds": Job.device_seconds + spent, "claimed_at": None}
