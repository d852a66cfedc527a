"""Bodies of the webhook endpoints."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.models import Webhook
from core.queries.webhooks import LoggedDelivery
from core.states import DeliveryState
from core.webhooks.egress import LONGEST_URL
from core.webhooks.events import WebhookEventType

EXAMPLE_URL = "https://example.com/wecolora"
Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_URL)]
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
Events = Annotated[list[WebhookEventType], Field(min_length=1, max_length=50)]


class WebhookCreate(BaseModel):
    """A new endpoint."""

    model_config = ConfigDict(extra="forbid")

    url: Url = Field(
        description="Where messages are sent: https, on the public internet.", examples=[EXAMPLE_URL]
    )
    events: Events | None = Field(
        None,
        description="What it is told of. Unset: everything there is now.",
        examples=[["job.succeeded", "job.failed"]],
    )
    description: Description | None = Field(None, examples=["the lab's chat"])


class WebhookChange(BaseModel):
    """What is to be another; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    url: Url = Field(EXAMPLE_URL, examples=[EXAMPLE_URL])
    events: Events = Field([*WebhookEventType], examples=[["job.succeeded", "job.failed"]])
    description: Description | None = None
    active: bool = Field(True, description="`true` also where the service had disabled it.")


class WebhookOut(BaseModel):
    """An endpoint, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    owner: str
    url: str
    description: str | None
    events: list[str]
    active: bool
    disabled_reason: str | None = Field(description="Why the service disabled it; null when its owner did.")
    failing_since: datetime | None = Field(description="The first failed try since the last that succeeded.")
    previous_secret_expires_at: datetime | None = Field(
        description="Until then messages are signed with the secret before the last rotation, too."
    )
    created_at: datetime
    updated_at: datetime
    links: dict[str, str] = {}

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookOut":
        """The public view of a row."""
        here = f"/webhooks/{webhook.id}"
        links = {"self": here, "deliveries": f"{here}/deliveries", "test": f"{here}/test"}
        return cls.model_validate(webhook).model_copy(update={"links": links})


class WebhookWithSecret(WebhookOut):
    """An endpoint with its secret, as it is shown when it is made or given a new one."""

    secret: str = Field(description="Verifies messages; not shown again.", examples=["whsec_…"])

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookWithSecret":
        """The row with its secret."""
        return cls(**WebhookOut.of(webhook).model_dump(), secret=webhook.secret)


class WebhookList(BaseModel):
    """A page of endpoints, newest first."""

    data: list[WebhookOut]
    has_more: bool
    next_cursor: str | None


class AttemptOut(BaseModel):
    """One try."""

    attempt: int
    at: datetime = Field(description="When it ended.")
    status_code: int | None = Field(description="null: no answer came.")
    error: str | None = Field(description="null: the endpoint took the message.")
    seconds: float


class DeliveryOut(BaseModel):
    """One event for one endpoint, and what became of it."""

    id: str
    webhook_id: str
    event_id: str = Field(description="`webhook-id` of the message, the same at every try.")
    type: str = Field(examples=["job.succeeded"])
    data: dict[str, Any]
    happened_at: datetime
    state: DeliveryState
    is_being_sent: bool
    attempt: int = Field(description="Tries so far, the one under way included.")
    next_attempt_at: datetime | None
    attempts: list[AttemptOut] = Field(description="The last 50 that ended.")

    @classmethod
    def of(cls, logged: LoggedDelivery) -> "DeliveryOut":
        """The public view of a row and its event."""
        row, event = logged.delivery, logged.event
        return cls(
            id=row.id,
            webhook_id=row.webhook_id,
            event_id=row.event_id,
            type=event.type,
            data=event.data,
            happened_at=event.created_at,
            state=row.state,
            is_being_sent=logged.is_being_sent,
            attempt=row.attempt,
            next_attempt_at=row.next_attempt_at,
            attempts=[AttemptOut.model_validate(each) for each in row.attempts],
        )


class MessageData(BaseModel):
    """What changed."""

    id: str = Field(description="Of the job or dataset.", examples=["job_01k9…"])
    state: str = Field(examples=["failed"])
    attempt: int | None = Field(None, description="Of a job: how many workers took it.")
    error: str | None = Field(description="`code` of the error, where there is one.")


class Message(BaseModel):
    """What an endpoint is sent, as the signed body."""

    type: WebhookEventType
    timestamp: datetime = Field(description="When it happened.")
    data: MessageData


class DeliveryList(BaseModel):
    """A page of deliveries, newest first."""

    data: list[DeliveryOut]
    has_more: bool
    next_cursor: str | None
