"""The rules of webhooks."""

from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
from sqlalchemy.orm import Session

from api.resources import Resources
from api.webhooks.schemas import DeliveryOut, WebhookChange, WebhookCreate, WebhookOut, WebhookWithSecret
from core.errors import FieldProblem, InvalidFields, WrongState
from core.models import Webhook
from core.principals import Principal
from core.queries import audit
from core.queries import webhooks as queries
from core.quotas import check_webhooks
from core.webhooks.egress import Egress
from core.webhooks.events import WebhookEventType

LOOK_UP_SECONDS: Final = 10.0
MOST_LOOK_UPS: Final = 8

# Threads of their own: names that hang hold up nobody but those who give them.
_look_ups = anyio.CapacityLimiter(MOST_LOOK_UPS)


async def check_url(resources: Resources, url: str) -> None:
    """Refuse a URL that cannot be sent to; outside of any transaction, since looking up a name takes time.

    Raises:
        InvalidFields: says why.
    """
    check = partial(Egress.from_settings(resources.settings).check_url, url)
    try:
        with anyio.fail_after(LOOK_UP_SECONDS):
            await anyio.to_thread.run_sync(check, abandon_on_cancel=True, limiter=_look_ups)
    except TimeoutError as error:
        problem = FieldProblem(
            "url", f"its name was not resolved within {LOOK_UP_SECONDS:g} seconds", input=url
        )
        raise InvalidFields(problem) from error


def refuse_early(resources: Resources, principal: Principal) -> None:
    """Refuse what `create` would refuse, before a name is looked up for it.

    Raises:
        QuotaExceeded: the owner has as many as may be.
    """
    with resources.database.read() as session:
        check_webhooks(session, resources.settings, principal.owner)


def create(resources: Resources, principal: Principal, wanted: WebhookCreate) -> WebhookWithSecret:
    """Register an endpoint, whose URL was checked.

    Raises:
        QuotaExceeded: the owner has as many as may be.
    """
    url = wanted.url
    events = _in_order(wanted.events or [*WebhookEventType])
    with resources.database.write() as session:
        check_webhooks(session, resources.settings, principal.owner)
        webhook = queries.add_webhook(session, principal.owner, url, events, wanted.description)
        audit.record(session, principal, "webhook.create", webhook.id, {"url": url, "events": events})
        return WebhookWithSecret.of(webhook)


def change(resources: Resources, principal: Principal, webhook_id: str, wanted: WebhookChange) -> WebhookOut:
    """Change what the request names; a new URL was checked.

    Raises:
        NotFound: there is no such endpoint in sight.
    """
    changes: dict[str, Any] = wanted.model_dump(include=wanted.model_fields_set)
    if "events" in changes:
        changes["events"] = _in_order(wanted.events)
    with resources.database.write() as session:
        webhook = queries.get_webhook(session, webhook_id, principal, locked=True)
        queries.change_webhook(session, webhook, changes)
        audit.record(session, principal, "webhook.update", webhook_id, changes)
        return WebhookOut.of(webhook)


def find(resources: Resources, principal: Principal, webhook_id: str) -> WebhookOut:
    """One endpoint.

    Raises:
        NotFound: there is none in sight.
    """
    with resources.database.read() as session:
        return WebhookOut.of(queries.get_webhook(session, webhook_id, principal))


def rotate(resources: Resources, principal: Principal, webhook_id: str) -> WebhookWithSecret:
    """Give an endpoint a new secret; the one before the last is forgotten."""
    with resources.database.write() as session:
        webhook = queries.get_webhook(session, webhook_id, principal, locked=True)
        queries.rotate_secret(session, webhook, resources.settings.webhook_secret_overlap_hours)
        audit.record(session, principal, "webhook.rotate_secret", webhook_id)
        return WebhookWithSecret.of(webhook)


def delete(resources: Resources, principal: Principal, webhook_id: str) -> None:
    """Forget an endpoint, its secrets and its log."""
    with resources.database.write() as session:
        webhook = queries.get_webhook(session, webhook_id, principal, locked=True)
        audit.record(session, principal, "webhook.delete", webhook_id, {"url": webhook.url})
        session.delete(webhook)


def send_test(resources: Resources, principal: Principal, webhook_id: str) -> DeliveryOut:
    """Have a test event sent.

    Raises:
        WrongState: the endpoint is not active.
    """
    with resources.database.write() as session:
        webhook = _active(session, principal, webhook_id)
        delivery_id = queries.add_test(session, webhook)
        audit.record(session, principal, "webhook.test", webhook_id)
        return DeliveryOut.of(queries.get_delivery(session, webhook_id, delivery_id))


def retry(resources: Resources, principal: Principal, webhook_id: str, delivery_id: str) -> DeliveryOut:
    """Have an event sent again now, whatever became of it before.

    Raises:
        WrongState: the endpoint is not active, or the event is being sent.
    """
    with resources.database.write() as session:
        _active(session, principal, webhook_id)
        queries.send_again(session, webhook_id, delivery_id)
        audit.record(session, principal, "webhook.retry", webhook_id, {"delivery": delivery_id})
        return DeliveryOut.of(queries.get_delivery(session, webhook_id, delivery_id))


def _active(session: Session, principal: Principal, webhook_id: str) -> Webhook:
    webhook = queries.get_webhook(session, webhook_id, principal, locked=True)
    if not webhook.active:
        raise WrongState("webhook", webhook_id, "not active", "active; PATCH it with active=true first")
    return webhook


def _in_order(events: list[WebhookEventType]) -> list[str]:
    return [event.value for event in WebhookEventType if event in events]
