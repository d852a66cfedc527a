"""Queries on `owners`."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import clock
from core.errors import NotFound
from core.models import Dataset, DatasetPart, Job, Owner, Teacher, Webhook
from core.queries.jobs import devices_of
from core.queries.paging import Page, fetch_page
from core.queries.part_uploads import reserved_bytes
from core.states import JobState


def ensure_owner(session: Session, name: str) -> None:
    """Make the owner if there is none of that name."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Owner).values(name=name).on_conflict_do_nothing())


def get_owner(session: Session, name: str) -> Owner:
    """The owner of that name.

    Raises:
        NotFound: when there is none.
    """
    owner = session.get(Owner, name)
    if owner is None:
        raise NotFound("owner", name)
    return owner


def lock_owner(session: Session, name: str) -> Owner:
    """The owner, held until this transaction ends: what counts its rows and then adds one does not race.

    Raises:
        NotFound: when there is none.
    """
    # Not against the references to the row that new rows make.
    statement = select(Owner).where(Owner.name == name).with_for_update(key_share=True)
    owner = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if owner is None:
        raise NotFound("owner", name)
    return owner


def list_owners(session: Session, cursor: str | None, limit: int) -> Page[Owner]:
    """Owners, backwards by name."""
    return fetch_page(session, select(Owner), Owner.name, cursor, limit)


@dataclass(frozen=True)
class Usage:
    """What an owner has.

    Attributes:
        bytes: of the uploaded parts of datasets, of parts whose URL was given out, and of the uploaded teachers.
        images: in datasets that are ready.
        running_jobs: that workers hold.
        queued_jobs: that wait.
        device_seconds: of jobs that began within the period.
        webhooks: active or not.
    """

    bytes: int
    images: int
    running_jobs: int
    queued_jobs: int
    device_seconds: float
    webhooks: int


def usage_of(session: Session, owner: str, period_days: int) -> Usage:
    """Count what the owner has now."""
    in_period = _in_period(owner, period_days)
    running = devices_of() * func.coalesce(clock.seconds_between(Job.claimed_at, clock.now()), 0.0)
    return Usage(
        bytes=bytes_of(session, owner),
        images=images_of(session, owner),
        running_jobs=count_jobs(session, owner, JobState.RUNNING),
        queued_jobs=count_jobs(session, owner, JobState.QUEUED),
        device_seconds=float(
            session.scalar(select(func.sum(Job.device_seconds + running)).where(*in_period)) or 0.0
        ),
        webhooks=count_webhooks(session, owner),
    )


def bytes_of(session: Session, owner: str) -> int:
    """Bytes that the owner has uploaded and that are kept, and those that URLs allow to be stored."""
    parts = (
        select(func.sum(DatasetPart.size_bytes))
        .join(Dataset, Dataset.id == DatasetPart.dataset_id)
        .where(Dataset.owner == owner)
    )
    teachers = select(func.sum(Teacher.size_bytes)).where(Teacher.owner == owner)
    kept = sum(int(session.scalar(statement) or 0) for statement in (parts, teachers))
    return kept + reserved_bytes(session, owner)


def images_of(session: Session, owner: str) -> int:
    """Images in the owner's datasets."""
    return int(session.scalar(select(func.sum(Dataset.image_count)).where(Dataset.owner == owner)) or 0)


def count_jobs(session: Session, owner: str, state: JobState) -> int:
    """The owner's jobs in that state."""
    statement = select(func.count()).select_from(Job).where(Job.owner == owner, Job.state == state)
    return session.scalar(statement) or 0


def count_webhooks(session: Session, owner: str) -> int:
    """The owner's endpoints."""
    return session.scalar(select(func.count()).select_from(Webhook).where(Webhook.owner == owner)) or 0


def seconds_until_older(session: Session, owner: str, period_days: int) -> float:
    """When the first job of the period leaves it."""
    age = clock.seconds_between(func.min(Job.started_at), clock.now())
    oldest = session.scalar(select(age).where(*_in_period(owner, period_days)))
    return period_days * clock.SECONDS_A_DAY - (oldest or 0.0)


def _in_period(owner: str, period_days: int) -> tuple[ColumnElement[bool], ...]:
    return Job.owner == owner, Job.started_at > clock.now_plus(-period_days * clock.SECONDS_A_DAY)
