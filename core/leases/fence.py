"""What jobs and datasets share: the condition that every fenced write carries, renewal, and the outbox."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, or_, update
from sqlalchemy.orm import Session

from core import clock
from core.errors import LeaseLost
from core.models import Dataset, Job
from core.records import Claim
from core.states import DatasetState, JobState

LONGEST_WAIT_FACTOR = 12
"""A row is announced again after 1, 2, 3, … and at most this many times the resend interval."""

RELEASED: Mapping[str, Any] = {"worker_id": None, "lease_expires_at": None, "heartbeat_at": None}
"""Values that give the lease back."""

AWAITING_WORKER: Mapping[str, Any] = {**RELEASED, "last_sent_at": None, "send_count": 0}
"""Values of a row that is to be announced to the workers at once."""


def model_of(kind: Literal["job", "dataset"]) -> type[Job] | type[Dataset]:
    """The table a claim points into."""
    return Job if kind == "job" else Dataset


def held(claim: Claim) -> ColumnElement[bool]:
    """True for the claimed row as long as this attempt holds it."""
    model = model_of(claim.kind)
    working = (
        Job.state == JobState.RUNNING if claim.kind == "job" else Dataset.state == DatasetState.INGESTING
    )
    return and_(
        model.id == claim.id, working, model.attempt == claim.attempt, model.worker_id == claim.worker_id
    )


def fenced_update(session: Session, claim: Claim, values: Mapping[str, Any]) -> None:
    """Write to the claimed row.

    Raises:
        LeaseLost: when the claim is stale; nothing is written.
    """
    model = model_of(claim.kind)
    statement = (
        update(model)
        .where(held(claim))
        .values(**values)
        .returning(model.id)
        .execution_options(synchronize_session=False)
    )
    if session.execute(statement).one_or_none() is None:
        raise LeaseLost(claim.kind, claim.id, claim.attempt)


def renew(session: Session, claim: Claim, lease_seconds: float) -> bool:
    """Extend the lease from now.

    Returns:
        Whether the user asked to cancel.

    Raises:
        LeaseLost: when the claim is stale.
    """
    model = model_of(claim.kind)
    statement = (
        update(model)
        .where(held(claim))
        .values(lease_expires_at=clock.now_plus(lease_seconds), heartbeat_at=clock.now())
        .returning(Job.cancel_requested_at if claim.kind == "job" else model.id)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise LeaseLost(claim.kind, claim.id, claim.attempt)
    return claim.kind == "job" and row[0] is not None


def is_due(model: type[Job] | type[Dataset], resend_after_seconds: float) -> ColumnElement[bool]:
    """True when the row was never announced, or so long ago that the message may be lost.

    The wait grows with each message: a job that waits for hours behind another must not fill the queue.
    """
    factor = case((model.send_count > LONGEST_WAIT_FACTOR, LONGEST_WAIT_FACTOR), else_=model.send_count)
    return or_(
        model.last_sent_at.is_(None),
        model.last_sent_at <= clock.now_plus(factor * -float(resend_after_seconds)),
    )


def mark_sent(session: Session, kind: Literal["job", "dataset"], ids: Sequence[str]) -> None:
    """Note that the workers are being told about these rows; send the messages after the commit."""
    model = model_of(kind)
    session.execute(
        update(model)
        .where(model.id.in_(ids))
        .values(last_sent_at=clock.now(), send_count=model.send_count + 1)
        .execution_options(synchronize_session=False)
    )
