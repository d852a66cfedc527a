"""Endpoints of API keys."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from api.access import Administrator, InSight, Writer
from api.keys.schemas import KeyCreate, KeyCreated, KeyList, KeyOut
from api.paging import PageDep, link_next
from api.resources import ResourcesDep
from core.errors import FieldProblem, InvalidFields
from core.keys import NewKey, add_key
from core.queries import audit
from core.queries import keys as queries

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post("", status_code=201)
def create_key(
    body: KeyCreate, response: Response, resources: ResourcesDep, principal: Administrator
) -> KeyCreated:
    """Make a key; the answer is the only one that shows it."""
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise InvalidFields(FieldProblem("expires_at", "is in the past", "a time to come"))
    wanted = NewKey(body.owner or principal.owner, body.name, body.scope, body.expires_at)
    with resources.database.write() as session:
        row, key = add_key(session, wanted)
        detail = {"owner": row.owner, "scope": row.scope.value, "prefix": row.prefix}
        audit.record(session, principal, "key.create", row.id, detail)
        shown = KeyOut.of(row)
    response.headers["Cache-Control"] = "no-store"
    return KeyCreated(**shown.model_dump(), key=key)


@router.get("")
def list_keys(
    request: Request, response: Response, resources: ResourcesDep, wanted: InSight, page: PageDep
) -> KeyList:
    """Keys, newest first: one's own, or with an admin key all."""
    with resources.database.read() as session:
        found = queries.list_keys(session, wanted, page.cursor, page.limit)
    link_next(request, response, found.next_cursor)
    rows = [KeyOut.of(row) for row in found.rows]
    return KeyList(data=rows, has_more=found.next_cursor is not None, next_cursor=found.next_cursor)


@router.delete("/{key_id}")
def revoke_key(key_id: str, resources: ResourcesDep, principal: Writer) -> KeyOut:
    """Revoke a key, at once and for good; again: nothing changes."""
    with resources.database.write() as session:
        row, is_new = queries.revoke_key(session, key_id, principal)
        if is_new:
            audit.record(session, principal, "key.revoke", key_id)
        return KeyOut.of(row)
