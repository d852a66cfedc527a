"""Endpoints of owners."""

from fastapi import APIRouter, Request, Response

from api.access import Administrator, Reader
from api.owners.schemas import Me, OwnerList, OwnerOut, QuotasIn
from api.paging import PageDep, link_next
from api.resources import ResourcesDep
from core.queries import audit
from core.queries import owners as queries

router = APIRouter(tags=["owners"])


@router.get("/me")
def get_me(resources: ResourcesDep, principal: Reader) -> Me:
    """Who asks, what may be had, and what is."""
    with resources.database.read() as session:
        owner = queries.get_owner(session, principal.owner)
        shown = OwnerOut.of(session, resources.settings, owner)
    is_direct = resources.direct_uploads is not None
    return Me(owner=shown, scope=principal.scope, key_id=principal.key_id, direct_uploads=is_direct)


@router.get("/owners")
def list_owners(
    request: Request, response: Response, resources: ResourcesDep, page: PageDep, administrator: Administrator
) -> OwnerList:
    """Owners with their quotas and what they have."""
    with resources.database.read() as session:
        found = queries.list_owners(session, page.cursor, page.limit)
        rows = [OwnerOut.of(session, resources.settings, row) for row in found.rows]
    link_next(request, response, found.next_cursor)
    return OwnerList(data=rows, has_more=found.next_cursor is not None, next_cursor=found.next_cursor)


@router.patch("/owners/{name}/quotas")
def set_quotas(name: str, body: QuotasIn, resources: ResourcesDep, principal: Administrator) -> OwnerOut:
    """Give an owner numbers of its own; null gives it the deployment's again."""
    changed = body.model_dump(include=body.model_fields_set)
    with resources.database.write() as session:
        owner = queries.lock_owner(session, name)
        for quota, value in changed.items():
            setattr(owner, f"quota_{quota}", value)
        session.flush()
        audit.record(session, principal, "owner.set_quotas", name, changed)
        return OwnerOut.of(session, resources.settings, owner)
