"""The endpoint of the audit log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.access import Administrator
from api.audit.schemas import AuditEntryOut, AuditList
from api.paging import PageDep, link_next
from api.resources import ResourcesDep
from core.principals import OWNER_LENGTH
from core.queries import audit as queries

router = APIRouter(prefix="/audit", tags=["audit"])


def _filter(
    owner: Annotated[str | None, Query(max_length=OWNER_LENGTH)] = None,
    action: Annotated[str | None, Query(max_length=40)] = None,
    target: Annotated[str | None, Query(max_length=200)] = None,
) -> queries.AuditFilter:
    return queries.AuditFilter(owner, action, target)


@router.get("")
def list_audit_entries(
    request: Request,
    response: Response,
    resources: ResourcesDep,
    page: PageDep,
    administrator: Administrator,
    wanted: Annotated[queries.AuditFilter, Depends(_filter)],
) -> AuditList:
    """Who changed what, when and from where; newest first."""
    with resources.database.read() as session:
        found = queries.list_entries(session, wanted, page.cursor, page.limit)
    link_next(request, response, found.next_cursor)
    rows = [AuditEntryOut.of(row) for row in found.rows]
    return AuditList(data=rows, has_more=found.next_cursor is not None, next_cursor=found.next_cursor)
