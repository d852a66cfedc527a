"""Keyset paging: newest first, the cursor is the last id of the page before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

Row = TypeVar("Row")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and where the next ones begin (None: these are the last)."""

    rows: Sequence[Row]
    next_cursor: str | None


def fetch_page(
    session: Session,
    statement: Select[Row],
    id_column: InstrumentedAttribute[str],
    cursor: str | None,
    limit: int,
) -> Page[Row]:
    """One page. Ids begin with the time, so descending ids are newest first and a page never shifts."""
    if cursor is not None:
        statement = statement.where(id_column < cursor)
    rows = session.scalars(statement.order_by(id_column.desc()).limit(limit + 1)).all()
    page = rows[:limit]
    more = len(rows) > limit
    return Page(page, getattr(page[-1], id_column.key) if more else None)
