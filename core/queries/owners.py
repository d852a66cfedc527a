"""Queries on `owners`."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.models import Owner
from core.queries.paging import Page, fetch_page


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
    statement = select(Owner).where(Owner.name == name).with_for_update()
    owner = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if owner is None:
        raise NotFound("owner", name)
    return owner


def list_owners(session: Session, cursor: str | None, limit: int) -> Page[Owner]:
    """Owners by name, from the end of the alphabet."""
    return fetch_page(session, select(Owner), Owner.name, cursor, limit)
