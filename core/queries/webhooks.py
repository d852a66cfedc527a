"""Queries on `webhooks`, `webhook_events` and `webhook_deliveries`."""

import base64
import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from core import clock
from core.errors import NotFound, WrongState
from core.ids import new_id
from core.models import Webhook, WebhookDelivery, WebhookEvent
from core.principals import Principal
from core.queries.paging import ListFilter, Page, fetch_page
from core.states import DeliveryState
from core.webhooks.deliveries import add_delivery
from core.webhooks.events import TEST_EVENT

SECRET_BYTES: Final = 32
SECONDS_AN_HOUR: Final = 3600.0


def make_secret() -> str:
    """A new signing secret, as Standard Webhooks write it."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def add_webhook(
    session: Session, owner: str, url: str, events: list[str], description: str | None
) -> Webhook:
    """A new endpoint, active from now on."""
    webhook = Webhook(
        id=new_id("wh"), owner=owner, url=url, events=events, description=description, secret=make_secret()
    )
    session.add(webhook)
    session.flush()
    return webhook


def get_webhook(session: Session, webhook_id: str, viewer: Principal, *, locked: bool = False) -> Webhook:
    """The endpoint of that id.

    Raises:
        NotFound: when there is none in sight.
    """
    statement = select(Webhook).where(Webhook.id == webhook_id).execution_options(populate_existing=True)
    webhook = session.scalars(statement.with_for_update() if locked else statement).one_or_none()
    if webhook is None or not viewer.may_see(webhook.owner):
        raise NotFound("webhook", webhook_id)
    return webhook


def list_webhooks(session: Session, wanted: ListFilter, cursor: str | None, limit: int) -> Page[Webhook]:
    """Endpoints, newest first."""
    return fetch_page(session, select(Webhook).where(wanted.on(Webhook.owner)), Webhook.id, cursor, limit)


def change_webhook(session: Session, webhook: Webhook, changes: dict[str, Any]) -> None:
    """Change an endpoint, locked by the caller; one that is made active again begins with a clean slate."""
    for name, value in changes.items():
        setattr(webhook, name, value)
    if "active" in changes:
        webhook.disabled_reason = None
        webhook.failing_since = None
    session.flush()
    session.refresh(webhook)


def rotate_secret(session: Session, webhook: Webhook, overlap_hours: float) -> None:
    """Give an endpoint, locked by the caller, a new secret; messages are signed with the old one, too, for a while."""
    session.execute(
        update(Webhook)
        .where(Webhook.id == webhook.id)
        .values(
            secret=make_secret(),
            previous_secret=webhook.secret,
            previous_secret_expires_at=clock.now_plus(overlap_hours * SECONDS_AN_HOUR),
        )
        .execution_options(synchronize_session=False)
    )
    session.refresh(webhook)


@dataclass(frozen=True)
class LoggedDelivery:
    """A delivery with its event, and whether a dispatcher is sending it now."""

    delivery: WebhookDelivery
    event: WebhookEvent
    is_being_sent: bool


def list_deliveries(
    session: Session, webhook_id: str, state: DeliveryState | None, cursor: str | None, limit: int
) -> Page[LoggedDelivery]:
    """The log of an endpoint, newest first."""
    statement = select(WebhookDelivery.id).where(WebhookDelivery.webhook_id == webhook_id)
    if state is not None:
        statement = statement.where(WebhookDelivery.state == state)
    if cursor is not None:
        statement = statement.where(WebhookDelivery.id < cursor)
    ids = session.scalars(statement.order_by(WebhookDelivery.id.desc()).limit(limit + 1)).all()
    found = session.execute(
        _logged().where(WebhookDelivery.id.in_(ids[:limit])).order_by(WebhookDelivery.id.desc())
    )
    rows = [LoggedDelivery(row[0], row[1], row[2]) for row in found]
    return Page(rows, rows[-1].delivery.id if len(ids) > limit else None)


def get_delivery(session: Session, webhook_id: str, delivery_id: str) -> LoggedDelivery:
    """One entry of an endpoint's log.

    Raises:
        NotFound: when it has none of that id.
    """
    statement = _logged().where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.id == delivery_id)
    row = session.execute(statement.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound("delivery", delivery_id)
    return LoggedDelivery(row[0], row[1], row[2])


def add_test(session: Session, webhook: Webhook) -> str:
    """An event for this endpoint alone, whatever it wants; returns the delivery's id."""
    data = {"id": webhook.id, "message": "This is a test."}
    event = WebhookEvent(id=new_id("evt"), owner=webhook.owner, type=TEST_EVENT, data=data, is_spread=True)
    session.add(event)
    session.flush()
    return add_delivery(session, webhook.id, event.id)


def send_again(session: Session, webhook_id: str, delivery_id: str) -> None:
    """Make a delivery due now, whatever became of it; the endpoint's row is locked by the caller.

    Raises:
        NotFound: the endpoint has none of that id.
        WrongState: it is being sent just now.
    """
    get_delivery(session, webhook_id, delivery_id)
    is_free = func.coalesce(WebhookDelivery.lease_expires_at < clock.now(), True)
    changed = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, is_free)
        .values(state=DeliveryState.PENDING, tries=0, next_attempt_at=clock.now(), lease_expires_at=None)
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if changed is None:
        raise WrongState("delivery", delivery_id, "being sent", "at rest; wait for the outcome")


def _logged() -> Select[WebhookDelivery, WebhookEvent, bool]:
    is_being_sent = func.coalesce(WebhookDelivery.lease_expires_at >= clock.now(), False)
    return select(WebhookDelivery, WebhookEvent, is_being_sent).join(
        WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id
    )
