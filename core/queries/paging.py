"""Keyset paging: newest first, the cursor is the last id of the page before; and who sees which rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, Select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.models import Dataset, Job
from core.principals import Principal

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


@dataclass(frozen=True)
class ListFilter:
    """Whose rows a list shows: those in the viewer's sight, and of them one owner's where one is named."""

    viewer: Principal
    owner: str | None = None

    def on(self, column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
        """The condition on a table's owner."""
        in_sight = true() if self.viewer.sees_all else column == self.viewer.owner
        return in_sight if self.owner is None else in_sight & (column == self.owner)


@dataclass(frozen=True)
class RowFilter(ListFilter):
    """Which rows of those in sight; None: any.

    Attributes:
        name: a part of it, in any case of its letters.
        created_from: not before.
        created_before: earlier than.
    """

    name: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    def matching(self, table: type[Job | Dataset]) -> list[ColumnElement[bool]]:
        """The conditions on a table."""
        conditions = [self.on(table.owner)]
        if self.name is not None:
            conditions.append(table.name.icontains(self.name, autoescape=True))
        if self.created_from is not None:
            conditions.append(table.created_at >= self.created_from)
        if self.created_before is not None:
            conditions.append(table.created_at < self.created_before)
        return conditions
