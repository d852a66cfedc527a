"""Deliveries: made from the outbox, given to one dispatcher at a time, kept with what became of them.

As with jobs, the row is the truth and `attempt` the fencing token: whoever sends has a lease, and when a dispatcher
dies in the middle, the delivery is due again once the lease has run out, under the same id.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from core import clock
from core.ids import new_id
from core.models import Webhook, WebhookDelivery, WebhookEvent
from core.principals import SYSTEM
from core.queries import audit
from core.records import JsonObject
from core.settings import Settings
from core.states import DeliveryState
from core.webhooks.events import message_body

BATCH: Final = 100
KEPT_ATTEMPTS: Final = 50
LEASE_SLACK_SECONDS: Final = 30.0
"""For what surrounds the sending; a lease ends this long after the endpoint's time."""
JITTER: Final = 0.2
"""Pauses are longer by up to this share, so that what failed together does not come back together."""
LONGEST_RETRY_AFTER_SECONDS: Final = clock.SECONDS_A_DAY
GONE: Final = 410


@dataclass(frozen=True)
class Sending:
    """The right to send one delivery, and all that it takes.

    Attributes:
        delivery_id: of the row.
        attempt: fencing token.
        webhook_id: of the endpoint.
        event_id: the message's id, the same at every try.
        url: where to.
        secrets: to sign with, the newest first.
        body: to sign and send.
    """

    delivery_id: str
    attempt: int
    webhook_id: str
    event_id: str
    url: str
    secrets: tuple[str, ...]
    body: str


@dataclass(frozen=True)
class Outcome:
    """What became of one try.

    Attributes:
        status_code: that the endpoint answered; None: no answer came.
        error: why it failed; None: the endpoint took the message.
        seconds: from the first look-up to the answer's head.
        retry_after_seconds: that the endpoint asked for.
    """

    status_code: int | None
    error: str | None
    seconds: float
    retry_after_seconds: float | None = None


def spread_events(session: Session) -> int:
    """Make the deliveries of new events, one for each endpoint that wants it; returns the number of events."""
    events = session.scalars(
        select(WebhookEvent)
        .where(WebhookEvent.is_spread.is_(False))
        .order_by(WebhookEvent.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    for event in events:
        wanting = session.scalars(
            select(Webhook).where(
                Webhook.owner == event.owner, Webhook.active, Webhook.created_at <= event.created_at
            )
        )
        for webhook in wanting:
            if event.type in webhook.events:
                add_delivery(session, webhook.id, event.id)
        event.is_spread = True
    session.flush()
    return len(events)


def add_delivery(session: Session, webhook_id: str, event_id: str) -> str:
    """A delivery that is due now; returns its id."""
    delivery_id = new_id("dlv")
    values = {"id": delivery_id, "webhook_id": webhook_id, "event_id": event_id}
    session.execute(insert(WebhookDelivery).values(**values, next_attempt_at=clock.now(), attempts=[]))
    return delivery_id


def has_work(session: Session) -> bool:
    """Whether there is an event to spread or a delivery to send: a look that locks nothing."""
    unspread = select(WebhookEvent.id).where(WebhookEvent.is_spread.is_(False))
    due = select(WebhookDelivery.id).join(Webhook).where(_is_due())
    return any(session.scalar(select(exists(each))) for each in (unspread, due))


def claim_due(session: Session, lease_seconds: float, most: int) -> list[Sending]:
    """Take deliveries that are due, at most one of an endpoint: a slow one delays only itself."""
    place = func.row_number().over(
        partition_by=WebhookDelivery.webhook_id,
        order_by=(WebhookDelivery.next_attempt_at, WebhookDelivery.id),
    )
    first = (
        select(WebhookDelivery.id, WebhookDelivery.next_attempt_at, place.label("place"))
        .join(Webhook)
        .where(_is_due())
        .subquery()
    )
    found = session.scalars(
        select(first.c.id).where(first.c.place == 1).order_by(first.c.next_attempt_at).limit(most)
    ).all()
    claimed = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_(found), *_is_free())
        .values(attempt=WebhookDelivery.attempt + 1, lease_expires_at=clock.now_plus(lease_seconds))
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    ).scalars()
    return _sendings(session, claimed.all())


def finish(session: Session, settings: Settings, sending: Sending, outcome: Outcome) -> bool:
    """Keep what became of a try, and say when the next one is.

    Returns:
        Whether it was still this try's to say; False: the lease had run out, and another has the delivery.
    """
    statement = select(WebhookDelivery).where(
        WebhookDelivery.id == sending.delivery_id,
        WebhookDelivery.attempt == sending.attempt,
        WebhookDelivery.lease_expires_at.is_not(None),
    )
    delivery = session.scalars(statement.with_for_update()).one_or_none()
    if delivery is None:
        return False
    entry = {
        "attempt": sending.attempt,
        "at": session.execute(select(clock.now())).scalar_one().isoformat(),
        "status_code": outcome.status_code,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 3),
    }
    attempts = [*delivery.attempts, entry][-KEPT_ATTEMPTS:]
    if outcome.error is None:
        _update(session, delivery.id, attempts, state=DeliveryState.DELIVERED, next_attempt_at=None)
        _note_success(session, sending.webhook_id)
        return True
    schedule = settings.webhook_retry_seconds
    if outcome.status_code == GONE or delivery.tries >= len(schedule):
        _update(session, delivery.id, attempts, state=DeliveryState.FAILED, next_attempt_at=None)
    else:
        asked = min(outcome.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        # Not for secrets: it only spreads tries.
        pause = max(asked, schedule[delivery.tries]) * (1 + JITTER * random.random())
        _update(
            session, delivery.id, attempts, tries=delivery.tries + 1, next_attempt_at=clock.now_plus(pause)
        )
    _note_failure(session, settings, sending, outcome)
    return True


def prune_log(session: Session, days: float) -> int:
    """Remove old events with their deliveries, and returns how many."""
    old = (
        select(WebhookEvent.id)
        .where(WebhookEvent.created_at < clock.now_plus(-days * clock.SECONDS_A_DAY))
        .limit(10 * BATCH)
    )
    gone = session.execute(delete(WebhookEvent).where(WebhookEvent.id.in_(old)).returning(WebhookEvent.id))
    return len(gone.all())


def _is_free() -> tuple[ColumnElement[bool], ...]:
    return (
        WebhookDelivery.state == DeliveryState.PENDING,
        WebhookDelivery.next_attempt_at <= clock.now(),
        or_(WebhookDelivery.lease_expires_at.is_(None), WebhookDelivery.lease_expires_at < clock.now()),
    )


def _is_due() -> ColumnElement[bool]:
    """True for a delivery to send now, of an endpoint to which nobody is sending."""
    other = aliased(WebhookDelivery)
    is_busy = exists(
        select(other.id).where(
            other.webhook_id == WebhookDelivery.webhook_id,
            other.state == DeliveryState.PENDING,
            other.lease_expires_at >= clock.now(),
        )
    )
    return and_(Webhook.active, *_is_free(), ~is_busy)


def _sendings(session: Session, ids: Sequence[str]) -> list[Sending]:
    is_old_good = func.coalesce(Webhook.previous_secret_expires_at > clock.now(), False)
    rows = session.execute(
        select(WebhookDelivery, Webhook, WebhookEvent, is_old_good)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.id.in_(ids))
        .execution_options(populate_existing=True)
    ).all()
    return [
        Sending(
            delivery.id,
            delivery.attempt,
            webhook.id,
            event.id,
            webhook.url,
            (webhook.secret, *([webhook.previous_secret] if old_is_good and webhook.previous_secret else [])),
            message_body(event.type, event.created_at, event.data),
        )
        for delivery, webhook, event, old_is_good in rows
    ]


def _update(session: Session, delivery_id: str, attempts: list[JsonObject], **values: object) -> None:
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id)
        .values(attempts=attempts, lease_expires_at=None, **values)
        .execution_options(synchronize_session=False)
    )


def _note_success(session: Session, webhook_id: str) -> None:
    session.execute(
        update(Webhook)
        .where(Webhook.id == webhook_id, Webhook.failing_since.is_not(None))
        .values(failing_since=None, updated_at=Webhook.updated_at)
        .execution_options(synchronize_session=False)
    )


def _note_failure(session: Session, settings: Settings, sending: Sending, outcome: Outcome) -> None:
    """Remember since when the endpoint fails; disable one that is gone, or that has failed for days."""
    days = settings.webhook_disable_days
    session.execute(
        update(Webhook)
        .where(Webhook.id == sending.webhook_id, Webhook.failing_since.is_(None))
        .values(failing_since=clock.now(), updated_at=Webhook.updated_at)
        .execution_options(synchronize_session=False)
    )
    if outcome.status_code == GONE:
        reason = "It answered 410 Gone."
        condition: ColumnElement[bool] = Webhook.active.is_(True)
    else:
        reason = f"Every try failed for {days:g} days; the last one so: {outcome.error}"
        condition = and_(Webhook.active, Webhook.failing_since < clock.now_plus(-days * clock.SECONDS_A_DAY))
    disabled = session.execute(
        update(Webhook)
        .where(Webhook.id == sending.webhook_id, condition)
        .values(active=False, disabled_reason=reason)
        .returning(Webhook.owner)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if disabled is not None:
        detail = {"owner": disabled, "url": sending.url, "reason": reason}
        audit.record(session, SYSTEM, "webhook.disable", sending.webhook_id, detail)
