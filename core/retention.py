"""What goes by itself when its time is over: unfinished uploads, checkpoints, the audit log, rows of what was deleted.

Each function does a bounded piece of the work in the caller's transaction and says how much; nothing is lost by doing
it again, at the same time or never.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session, aliased

from core import clock
from core.deletion import hide_dataset, remove_later
from core.models import AuditEntry, Dataset, DatasetPart, Deletion, Job
from core.principals import SYSTEM
from core.queries import audit
from core.queries.events import append_events
from core.queries.part_uploads import DIRECT_SUFFIX, overdue
from core.records import NewEvent
from core.states import RETRYABLE, DatasetState, EventType

BATCH: Final = 100
AUDIT_BATCH: Final = 10_000
UPLOAD_GRACE_SECONDS: Final = clock.SECONDS_A_DAY
"""An upload that began while its URL was good may take this long."""


def expire_uploads(session: Session, idle_days: float) -> list[str]:
    """Delete datasets whose upload was begun and left; returns their ids."""
    long_ago = clock.now_plus(-idle_days * clock.SECONDS_A_DAY)
    is_fed = exists(
        select(DatasetPart.id).where(DatasetPart.dataset_id == Dataset.id, DatasetPart.created_at >= long_ago)
    )
    statement = (
        select(Dataset)
        .where(
            Dataset.state == DatasetState.UPLOADING,
            Dataset.deleted_at.is_(None),
            Dataset.updated_at < long_ago,
            ~is_fed,
        )
        .order_by(Dataset.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    datasets = session.scalars(statement).all()
    for dataset in datasets:
        hide_dataset(session, dataset)
        audit.record(session, SYSTEM, "dataset.expire", dataset.id, {"owner": dataset.owner})
    return [dataset.id for dataset in datasets]


def expire_part_uploads(session: Session, grace_seconds: float = UPLOAD_GRACE_SECONDS) -> int:
    """Forget URLs that nothing can come by any more, and what came by them and is no part; returns how many."""
    found = overdue(session, grace_seconds, BATCH)
    for upload, is_used in found:
        if not is_used:
            remove_later(session, [upload.key.removesuffix(DIRECT_SUFFIX)])
        session.delete(upload)
    session.flush()
    return len(found)


def expire_checkpoints(session: Session, days: float) -> list[str]:
    """Forget the checkpoints of jobs that ended long ago and were not tried again; returns the jobs' ids."""
    statement = (
        select(Job)
        .where(
            Job.state.in_(RETRYABLE),
            Job.checkpoint.is_not(None),
            Job.finished_at < clock.now_plus(-days * clock.SECONDS_A_DAY),
        )
        .order_by(Job.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    jobs = session.scalars(statement).all()
    for job in jobs:
        # Not the whole folder: a retry that comes before the sweep stores below its own, later attempt.
        attempts = range(1, job.attempt + 1)
        remove_later(session, [f"jobs/{job.id}/checkpoints/{attempt}" for attempt in attempts])
        job.checkpoint = None
        session.flush()
        note = NewEvent(
            EventType.LOG, f"The checkpoint was removed after {days:g} days; a retry starts anew."
        )
        append_events(session, job.id, job.attempt, [note])
    return [job.id for job in jobs]


def prune_audit(session: Session, days: float) -> int:
    """Remove old entries of the audit log."""
    old = (
        select(AuditEntry.id)
        .where(AuditEntry.created_at < clock.now_plus(-days * clock.SECONDS_A_DAY))
        .order_by(AuditEntry.id)
        .limit(AUDIT_BATCH)
    )
    removed = session.scalars(delete(AuditEntry).where(AuditEntry.id.in_(old)).returning(AuditEntry.id)).all()
    return len(removed)


def remove_rows(session: Session, period_days: float) -> int:
    """Remove the rows of deleted jobs whose time counts no more, and of deleted datasets that no job names."""
    began_long_ago = Job.started_at < clock.now_plus(-period_days * clock.SECONDS_A_DAY)
    jobs = (
        select(Job.id)
        .where(Job.deleted_at.is_not(None), or_(Job.started_at.is_(None), began_long_ago))
        .limit(BATCH)
    )
    gone = session.scalars(delete(Job).where(Job.id.in_(jobs)).returning(Job.id)).all()
    user = aliased(Job)
    is_named = exists(
        select(user.id).where(or_(user.dataset_id == Dataset.id, user.probe_dataset_id == Dataset.id))
    )
    datasets = select(Dataset.id).where(Dataset.deleted_at.is_not(None), ~is_named).limit(BATCH)
    gone_datasets = session.scalars(
        delete(Dataset).where(Dataset.id.in_(datasets)).returning(Dataset.id)
    ).all()
    return len(gone) + len(gone_datasets)


def next_deletions(session: Session) -> list[tuple[str, datetime]]:
    """Prefixes whose objects are to be removed, the oldest first, and when that was asked for."""
    statement = select(Deletion.prefix, Deletion.created_at)
    rows = session.execute(statement.order_by(Deletion.created_at, Deletion.prefix).limit(BATCH))
    return [(prefix, asked_at) for prefix, asked_at in rows]


def note_removed(session: Session, prefix: str, asked_at: datetime) -> None:
    """The objects below this prefix are gone, unless their removal was asked for again meanwhile."""
    session.execute(delete(Deletion).where(Deletion.prefix == prefix, Deletion.created_at == asked_at))
