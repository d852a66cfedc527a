"""What endpoints are told: kinds of events, and the body of a message."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from core.states import JobState


class WebhookEventType(StrEnum):
    """Kinds of events that an endpoint may ask for."""

    JOB_STARTED = "job.started"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    DATASET_READY = "dataset.ready"
    DATASET_FAILED = "dataset.failed"


TEST_EVENT = "webhook.test"
"""Sent when its owner asks for it, whatever the endpoint's filter says."""

OF_JOB_STATE: Mapping[JobState, WebhookEventType] = MappingProxyType(
    {
        JobState.RUNNING: WebhookEventType.JOB_STARTED,
        JobState.SUCCEEDED: WebhookEventType.JOB_SUCCEEDED,
        JobState.FAILED: WebhookEventType.JOB_FAILED,
        JobState.CANCELLED: WebhookEventType.JOB_CANCELLED,
    }
)
"""Told when a job moves there; that it waits (again) is nobody's news."""


def message_body(kind: str, happened_at: datetime, data: Mapping[str, Any]) -> str:
    """The JSON that is signed and sent: the same bytes at every try."""
    timestamp = happened_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {"type": kind, "timestamp": timestamp, "data": dict(sorted(data.items()))}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
