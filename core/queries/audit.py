"""Queries on `audit_entries`."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.ids import new_id
from core.models import AuditEntry
from core.principals import Principal
from core.queries.paging import Page, fetch_page
from core.records import JsonObject


@dataclass(frozen=True)
class AuditFilter:
    """Which entries; None: any."""

    owner: str | None = None
    action: str | None = None
    target: str | None = None


def record(
    session: Session, principal: Principal, action: str, target: str, detail: JsonObject | None = None
) -> None:
    """Write down a change in the transaction that makes it.

    Args:
        session: of the change.
        principal: who makes it.
        action: `noun.verb`, such as `job.create`.
        target: the id of what is changed.
        detail: what the id does not say.
    """
    entry = AuditEntry(
        id=new_id("aud"),
        owner=principal.owner,
        key_id=principal.key_id,
        address=principal.address,
        action=action,
        target=target,
        detail=detail,
    )
    session.add(entry)
    session.flush()


def list_entries(session: Session, wanted: AuditFilter, cursor: str | None, limit: int) -> Page[AuditEntry]:
    """Entries, newest first."""
    statement = select(AuditEntry)
    for column, value in vars(wanted).items():
        if value is not None:
            statement = statement.where(getattr(AuditEntry, column) == value)
    return fetch_page(session, statement, AuditEntry.id, cursor, limit)
