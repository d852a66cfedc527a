"""Endpoints of webhooks."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.access import InSight, Reader, Writer
from api.paging import PageDep, link_next
from api.resources import ResourcesDep
from api.webhooks import service
from api.webhooks.schemas import (
    DeliveryList,
    DeliveryOut,
    Message,
    WebhookChange,
    WebhookCreate,
    WebhookList,
    WebhookOut,
    WebhookWithSecret,
)
from core.queries import webhooks as queries
from core.states import DeliveryState

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
messages = APIRouter(tags=["webhooks"])
"""Described in the OpenAPI document, and sent by the dispatcher."""


@messages.post("event", status_code=204, responses={410: {"description": "Disables the endpoint."}})
def event(
    body: Message,
    webhook_id: Annotated[str, Header(description="The same at every try: drop what you have seen.")],
    webhook_timestamp: Annotated[int, Header(description="Of this try, in seconds since 1970.")],
    webhook_signature: Annotated[str, Header(description="`v1,BASE64`, one or more, separated by spaces.")],
) -> None:
    """A job or dataset changed. Any `2xx` takes the message, after Standard Webhooks."""


@router.post("", status_code=201)
async def create_webhook(
    body: WebhookCreate, response: Response, resources: ResourcesDep, principal: Writer
) -> WebhookWithSecret:
    """Register an endpoint; the answer is the only one that shows its secret."""
    await run_in_threadpool(service.refuse_early, resources, principal)
    await service.check_url(resources, body.url)
    webhook = await run_in_threadpool(service.create, resources, principal, body)
    response.headers["Location"] = webhook.links["self"]
    response.headers["Cache-Control"] = "no-store"
    return webhook


@router.get("")
def list_webhooks(
    request: Request, response: Response, resources: ResourcesDep, wanted: InSight, page: PageDep
) -> WebhookList:
    """Endpoints, newest first."""
    with resources.database.read() as session:
        found = queries.list_webhooks(session, wanted, page.cursor, page.limit)
    link_next(request, response, found.next_cursor)
    rows = [WebhookOut.of(row) for row in found.rows]
    return WebhookList(data=rows, has_more=found.next_cursor is not None, next_cursor=found.next_cursor)


@router.get("/{webhook_id}")
def get_webhook(webhook_id: str, resources: ResourcesDep, principal: Reader) -> WebhookOut:
    """One endpoint."""
    return service.find(resources, principal, webhook_id)


@router.patch("/{webhook_id}")
async def change_webhook(
    webhook_id: str, body: WebhookChange, resources: ResourcesDep, principal: Writer
) -> WebhookOut:
    """Change an endpoint; `active: true` sends what has waited meanwhile."""
    if "url" in body.model_fields_set:
        await run_in_threadpool(service.find, resources, principal, webhook_id)
        await service.check_url(resources, body.url)
    return await run_in_threadpool(service.change, resources, principal, webhook_id, body)


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: str, resources: ResourcesDep, principal: Writer) -> None:
    """Forget an endpoint with its log."""
    service.delete(resources, principal, webhook_id)


@router.post("/{webhook_id}/secret")
def rotate_webhook_secret(
    webhook_id: str, response: Response, resources: ResourcesDep, principal: Writer
) -> WebhookWithSecret:
    """A new secret, shown this once; for a while messages are signed with the old one, too."""
    response.headers["Cache-Control"] = "no-store"
    return service.rotate(resources, principal, webhook_id)


@router.post("/{webhook_id}/test", status_code=202)
def test_webhook(webhook_id: str, resources: ResourcesDep, principal: Writer) -> DeliveryOut:
    """Send an event of type `webhook.test`; the log says what became of it."""
    return service.send_test(resources, principal, webhook_id)


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    webhook_id: str,
    request: Request,
    response: Response,
    resources: ResourcesDep,
    principal: Reader,
    page: PageDep,
    state: DeliveryState | None = None,
) -> DeliveryList:
    """The log of an endpoint, newest first: every event with its tries."""
    with resources.database.read() as session:
        queries.get_webhook(session, webhook_id, principal)
        found = queries.list_deliveries(session, webhook_id, state, page.cursor, page.limit)
    link_next(request, response, found.next_cursor)
    rows = [DeliveryOut.of(row) for row in found.rows]
    return DeliveryList(data=rows, has_more=found.next_cursor is not None, next_cursor=found.next_cursor)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
def get_delivery(
    webhook_id: str, delivery_id: str, resources: ResourcesDep, principal: Reader
) -> DeliveryOut:
    """One entry of the log."""
    with resources.database.read() as session:
        queries.get_webhook(session, webhook_id, principal)
        return DeliveryOut.of(queries.get_delivery(session, webhook_id, delivery_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/retry", status_code=202)
def retry_delivery(
    webhook_id: str, delivery_id: str, resources: ResourcesDep, principal: Writer
) -> DeliveryOut:
    """Send an event again now, whatever became of it; under the same id."""
    return service.retry(resources, principal, webhook_id, delivery_id)
