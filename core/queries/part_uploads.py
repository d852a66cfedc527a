"""Queries on `part_uploads`: URLs that were given out for parts that go straight into the bucket."""

from typing import Final

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from core import clock
from core.models import DatasetPart, PartUpload

DIRECT_SUFFIX: Final = "/direct"
"""Ends the keys of direct uploads: each lies in a folder of its own, since objects are removed by folder."""


def reserve(session: Session, wanted: PartUpload, seconds: float) -> tuple[PartUpload, bool]:
    """Note that a URL is given out for these bytes; the caller holds the dataset's lock.

    Returns:
        The note, which is the one before when the same was asked for already, and whether it is new.
    """
    before = find(session, wanted.dataset_id, wanted.number, wanted.sha256, locked=True)
    ends_at = session.execute(select(clock.now_plus(seconds))).scalar_one()
    if before is not None and not before.is_confirmed and before.size_bytes == wanted.size_bytes:
        before.filename, before.expires_at = wanted.filename, ends_at
        session.flush()
        return before, False
    wanted.expires_at = ends_at
    session.add(wanted)
    session.flush()
    return wanted, True


def find(
    session: Session, dataset_id: str, number: int, sha256: str, *, locked: bool = False
) -> PartUpload | None:
    """The last URL that was given out for these bytes as this part; locked: nobody removes the note meanwhile."""
    statement = (
        select(PartUpload)
        .where(PartUpload.dataset_id == dataset_id, PartUpload.number == number, PartUpload.sha256 == sha256)
        .order_by(PartUpload.created_at.desc(), PartUpload.key.desc())
        .limit(1)
    )
    return session.scalars(statement.with_for_update() if locked else statement).one_or_none()


def reserved_bytes(session: Session, owner: str) -> int:
    """Bytes that an owner may have stored by URLs, or still may, and that are no part."""
    statement = select(func.sum(PartUpload.size_bytes)).where(
        PartUpload.owner == owner, PartUpload.is_confirmed.is_(False)
    )
    return int(session.scalar(statement) or 0)


def overdue(session: Session, grace_seconds: float, most: int) -> list[tuple[PartUpload, bool]]:
    """Notes of URLs that ended so long ago that nothing more can come, locked; and whether a part has the object."""
    is_used = exists(select(DatasetPart.id).where(DatasetPart.key == PartUpload.key))
    statement = (
        select(PartUpload, is_used)
        .where(PartUpload.expires_at < clock.now_plus(-grace_seconds))
        .order_by(PartUpload.expires_at)
        .limit(most)
        .with_for_update(skip_locked=True, of=PartUpload)
    )
    return [(row[0], bool(row[1])) for row in session.execute(statement)]
