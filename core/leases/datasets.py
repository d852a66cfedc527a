"""The ingest of a dataset: claim, finish, and the recovery of one that was left."""

from collections.abc import Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from core import clock
from core.deletion import remove_later
from core.errors import LeaseLost
from core.leases.fence import AWAITING_WORKER, RELEASED, fenced_update, held, is_due
from core.leases.jobs import set_finished, state_event
from core.models import Dataset, Job
from core.queries.events import append_events
from core.records import Claim, IngestResult, JobError, JsonObject
from core.states import DatasetState, JobState
from core.webhooks.outbox import tell_of_dataset

BATCH = 100
_ENDED = {**RELEASED, "progress": None}
"""Values of a dataset that no worker holds any more."""


def claim_dataset(session: Session, dataset_id: str, worker_id: str, lease_seconds: float) -> Claim | None:
    """Take a completed upload for ingest; None when it is not to be had."""
    statement = (
        update(Dataset)
        .where(
            Dataset.id == dataset_id,
            Dataset.state == DatasetState.INGESTING,
            Dataset.worker_id.is_(None),
        )
        .values(
            attempt=Dataset.attempt + 1,
            worker_id=worker_id,
            lease_expires_at=clock.now_plus(lease_seconds),
            heartbeat_at=clock.now(),
        )
        .returning(Dataset.attempt)
        .execution_options(synchronize_session=False)
    )
    attempt = session.execute(statement).scalar_one_or_none()
    return None if attempt is None else Claim("dataset", dataset_id, attempt, worker_id)


def record_ingest_progress(session: Session, claim: Claim, progress: JsonObject) -> None:
    """Say how far the ingest is."""
    fenced_update(session, claim, {"progress": progress})


def complete_ingest(session: Session, claim: Claim, result: IngestResult) -> None:
    """The dataset is ready; jobs that wait for it become claimable. The uploaded files are needed no more."""
    fenced_update(session, claim, {"state": DatasetState.READY, "error": None, **_ENDED, **vars(result)})
    _tell(session, claim.id, DatasetState.READY)
    remove_later(session, [_uploaded_files(claim.id)])


def fail_dataset(session: Session, claim: Claim, error: JobError, report_key: str | None = None) -> None:
    """The dataset cannot be used, and neither can the jobs that wait for it."""
    values = {"state": DatasetState.FAILED, "error": error.to_dict(), "report_key": report_key}
    fenced_update(session, claim, {**values, **_ENDED})
    _tell(session, claim.id, DatasetState.FAILED, error)
    remove_later(session, [_uploaded_files(claim.id)])
    if report_key is None:
        discard_ingest(session, claim)
    _fail_waiting_jobs(session, claim.id, error)


def release_dataset(
    session: Session, claim: Claim, reason: str, charge_attempt: bool, *, max_attempts: int = 3
) -> DatasetState:
    """Give the dataset back so that another attempt ingests it; failed after the last attempt.

    Raises:
        LeaseLost: when the claim is stale.
    """
    dataset = session.scalars(
        select(Dataset).where(held(claim)).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if dataset is None:
        raise LeaseLost(claim.kind, claim.id, claim.attempt)
    return _end_attempt(session, dataset, reason, charge_attempt, max_attempts)


def due_datasets(session: Session, resend_after_seconds: float) -> Sequence[str]:
    """Datasets that wait for ingest and that the workers should hear of (again)."""
    statement = (
        select(Dataset.id)
        .where(
            Dataset.state == DatasetState.INGESTING,
            Dataset.worker_id.is_(None),
            is_due(Dataset, resend_after_seconds),
        )
        .order_by(Dataset.id)
        .limit(BATCH)
    )
    return session.scalars(statement).all()


def reap_expired_datasets(session: Session, max_attempts: int) -> list[str]:
    """Take datasets from workers that fell silent; failed after `max_attempts`."""
    expired = session.scalars(
        select(Dataset)
        .where(Dataset.state == DatasetState.INGESTING, Dataset.lease_expires_at < clock.now())
        .order_by(Dataset.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    for dataset in expired:
        _end_attempt(session, dataset, "its worker fell silent", True, max_attempts)
    return [dataset.id for dataset in expired]


def _end_attempt(
    session: Session, dataset: Dataset, reason: str, charge_attempt: bool, max_attempts: int
) -> DatasetState:
    if charge_attempt:
        dataset.failed_attempts += 1
    remove_later(session, [_ingested_files(dataset.id, dataset.attempt)])
    for column, value in AWAITING_WORKER.items():
        setattr(dataset, column, value)
    dataset.progress = None
    if charge_attempt and dataset.failed_attempts >= max_attempts:
        message = f"Gave up after {dataset.failed_attempts} attempts; the last one ended so: {reason}"
        error = JobError("attempts_exhausted", message, retryable=True)
        dataset.state = DatasetState.FAILED
        dataset.error = error.to_dict()
        session.flush()
        _tell(session, dataset.id, DatasetState.FAILED, error)
        remove_later(session, [_uploaded_files(dataset.id)])
        _fail_waiting_jobs(session, dataset.id, error)
    session.flush()
    return dataset.state


def _tell(session: Session, dataset_id: str, state: DatasetState, error: JobError | None = None) -> None:
    owner = session.execute(select(Dataset.owner).where(Dataset.id == dataset_id)).scalar_one()
    tell_of_dataset(session, owner, dataset_id, state, error.to_dict() if error else None)


def discard_ingest(session: Session, claim: Claim) -> None:
    """Have the files that an attempt has stored removed; its lease may be lost."""
    remove_later(session, [_ingested_files(claim.id, claim.attempt)])


def abandon_ingest(session: Session, claim: Claim) -> None:
    """The same where the lease is lost, unless it is by the attempt's own end, whose commit was not acknowledged."""
    report_key = session.scalar(select(Dataset.report_key).where(Dataset.id == claim.id))
    if not (report_key or "").startswith(f"{_ingested_files(claim.id, claim.attempt)}/"):
        discard_ingest(session, claim)


def _ingested_files(dataset_id: str, attempt: int) -> str:
    return f"datasets/{dataset_id}/ingest/{attempt}"


def _uploaded_files(dataset_id: str) -> str:
    """Where they lie; they still have what the ingest takes off, such as the place where a picture was taken."""
    return f"datasets/{dataset_id}/parts"


def _fail_waiting_jobs(session: Session, dataset_id: str, reason: JobError) -> None:
    waiting = session.scalars(
        select(Job)
        .where(
            Job.state == JobState.QUEUED,
            or_(Job.dataset_id == dataset_id, Job.probe_dataset_id == dataset_id),
        )
        .with_for_update()
    ).all()
    for job in waiting:
        param = "dataset_id" if job.dataset_id == dataset_id else "probe"
        message = f"The dataset {dataset_id} could not be used: {reason.message}"
        job.error = JobError("dataset_failed", message, param, reason.retryable).to_dict()
        job.state = JobState.FAILED
        session.flush()
        set_finished(session, job.id)
        append_events(
            session, job.id, job.attempt, [state_event(JobState.FAILED, message, {"error": job.error})]
        )
