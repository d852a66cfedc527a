"""Queries on `idempotency_keys`: what a request with a key was answered, so that it takes effect once.

The key is stored in the transaction of what it makes. A second request with it waits at the unique index until the
first has ended; then it finds the answer, or, when the first came to nothing, takes its place.
"""

from typing import Final

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import clock
from core.errors import IdempotencyKeyReused
from core.models import IdempotencyKey

SECONDS_AN_HOUR: Final = 3600.0


def claim_key(
    session: Session, owner: str, key: str, request_sha256: str, hours: float
) -> IdempotencyKey | None:
    """Take the key for this request, whose answer is stored by `store_answer` in the same transaction.

    Returns:
        The answer of an earlier request that was the same; None when this is the first.

    Raises:
        IdempotencyKeyReused: when the earlier request was another.
    """
    mine = (IdempotencyKey.owner == owner) & (IdempotencyKey.key == key)
    session.execute(delete(IdempotencyKey).where(mine, _is_over(hours)))
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"owner": owner, "key": key, "request_sha256": request_sha256, "created_at": clock.now()}
    statement = insert(IdempotencyKey).values(**values, status=0, body={}).on_conflict_do_nothing()
    if session.scalar(statement.returning(IdempotencyKey.key)) is not None:
        return None
    answered = session.scalars(select(IdempotencyKey).where(mine)).one()
    if answered.request_sha256 != request_sha256:
        raise IdempotencyKeyReused(key)
    return answered


def find_answer(
    session: Session, owner: str, key: str, request_sha256: str, hours: float
) -> IdempotencyKey | None:
    """The answer of an earlier request that was the same, without taking the key.

    Raises:
        IdempotencyKeyReused: when the earlier request was another.
    """
    statement = select(IdempotencyKey).where(
        IdempotencyKey.owner == owner, IdempotencyKey.key == key, ~_is_over(hours)
    )
    answered = session.scalars(statement).one_or_none()
    if answered is not None and answered.request_sha256 != request_sha256:
        raise IdempotencyKeyReused(key)
    return answered


def store_answer(
    session: Session, owner: str, key: str, status: int, body: dict[str, object], location: str | None
) -> None:
    """Keep what the request that took the key is answered."""
    session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.owner == owner, IdempotencyKey.key == key)
        .values(status=status, body=body, location=location)
        .execution_options(synchronize_session=False)
    )


def prune_keys(session: Session, hours: float) -> int:
    """Forget keys whose time is over."""
    removed = session.execute(delete(IdempotencyKey).where(_is_over(hours)).returning(IdempotencyKey.key))
    return len(removed.all())


def _is_over(hours: float) -> ColumnElement[bool]:
    return IdempotencyKey.created_at < clock.now_plus(-hours * SECONDS_AN_HOUR)
