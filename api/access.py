"""Who asks: the API key of a request and what it is good for.

An endpoint that touches an owner's rows takes a `Reader`, `Writer` or `Administrator`; queries need one, so that none
can forget to ask.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime

from api.resources import Resources, ResourcesDep
from core import keys
from core.errors import InsufficientScope, Unauthenticated
from core.principals import LOCAL_OWNER, OWNER_LENGTH, Principal, Scope
from core.queries.keys import note_use
from core.queries.paging import ListFilter, RowFilter

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    description="An API key, `Authorization: Bearer wcl_…`. Not asked for where the service has WECOLORA_AUTH=none.",
    auto_error=False,
)


async def _identify(
    request: Request,
    resources: ResourcesDep,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    address = request.client.host if request.client else None
    if resources.settings.auth == "none":
        return Principal(LOCAL_OWNER, Scope.ADMIN, address=address)
    if shown is None:
        raise Unauthenticated
    return await run_in_threadpool(_authenticate, resources, shown.credentials, address)


def _authenticate(resources: Resources, key: str, address: str | None) -> Principal:
    with resources.database.read() as session:
        principal, is_use_stale = keys.authenticate(session, key, address)
    resources.rates.check(principal.owner)
    if is_use_stale and principal.key_id is not None:
        with resources.database.write() as session:
            note_use(session, principal.key_id)
    return principal


def _require(needed: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    async def check(principal: Annotated[Principal, Depends(_identify)]) -> Principal:
        if not principal.scope.includes(needed):
            raise InsufficientScope(principal.scope.value, needed.value)
        return principal

    return check


Reader = Annotated[Principal, Depends(_require(Scope.READ))]
Writer = Annotated[Principal, Depends(_require(Scope.WRITE))]
Administrator = Annotated[Principal, Depends(_require(Scope.ADMIN))]


async def _list_filter(
    viewer: Reader,
    owner: Annotated[
        str | None, Query(max_length=OWNER_LENGTH, description="Of this owner only; for admin keys.")
    ] = None,
) -> ListFilter:
    return ListFilter(viewer, owner)


InSight = Annotated[ListFilter, Depends(_list_filter)]


async def _row_filter(
    wanted: InSight,
    name: Annotated[
        str | None,
        Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$", description="A part of the name."),
    ] = None,
    created_from: Annotated[AwareDatetime | None, Query(description="Not older; with its time zone.")] = None,
    created_before: Annotated[AwareDatetime | None, Query(description="Older.")] = None,
) -> RowFilter:
    return RowFilter(wanted.viewer, wanted.owner, name, created_from, created_before)


Filtered = Annotated[RowFilter, Depends(_row_filter)]
