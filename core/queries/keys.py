"""Queries on `api_keys`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from core import clock
from core.errors import NotFound
from core.models import ApiKey
from core.principals import Principal
from core.queries.paging import ListFilter, Page, fetch_page

NOTE_USE_SECONDS: Final = 60
"""`last_used_at` is this coarse, so that reading does not write."""


@dataclass(frozen=True)
class FoundKey:
    """A key, and what the database's clock says of it."""

    key: ApiKey
    is_expired: bool
    is_use_stale: bool


def find_by_prefix(session: Session, prefix: str) -> FoundKey | None:
    """The key with that prefix, whatever its state."""
    is_expired = func.coalesce(ApiKey.expires_at <= clock.now(), False)
    row = session.execute(select(ApiKey, is_expired, _is_use_stale()).where(ApiKey.prefix == prefix)).first()
    return None if row is None else FoundKey(row[0], bool(row[1]), bool(row[2]))


def note_use(session: Session, key_id: str) -> None:
    """Stamp the use of a key, unless another request has just done so."""
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, _is_use_stale())
        .values(last_used_at=clock.now(), updated_at=ApiKey.updated_at)
        .execution_options(synchronize_session=False)
    )


def live_keys(session: Session, key_ids: Collection[str]) -> set[str]:
    """Those of the keys that may still be used."""
    if not key_ids:
        return set()
    statement = select(ApiKey.id).where(
        ApiKey.id.in_(key_ids),
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock.now()),
    )
    return set(session.scalars(statement))


def list_keys(session: Session, wanted: ListFilter, cursor: str | None, limit: int) -> Page[ApiKey]:
    """Keys, newest first, those that are good for nothing any more among them."""
    statement = select(ApiKey).where(wanted.on(ApiKey.owner))
    return fetch_page(session, statement, ApiKey.id, cursor, limit)


def revoke_key(session: Session, key_id: str, viewer: Principal) -> tuple[ApiKey, bool]:
    """Make a key useless from now on.

    Returns:
        The key, and whether this call revoked it.

    Raises:
        NotFound: when there is none in sight.
    """
    key = session.scalars(select(ApiKey).where(ApiKey.id == key_id).with_for_update()).one_or_none()
    if key is None or not viewer.may_see(key.owner):
        raise NotFound("key", key_id)
    if key.revoked_at is not None:
        return key, False
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id)
        .values(revoked_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    session.refresh(key)
    return key, True


def _is_use_stale() -> ColumnElement[bool]:
    last = ApiKey.last_used_at
    return or_(last.is_(None), last <= clock.now_plus(-NOTE_USE_SECONDS))
