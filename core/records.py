"""Small values that pass between worker, leases and API."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from core.states import EventLevel, EventType

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """The right to work on one row. `attempt` is the fencing token: every write by the holder carries it."""

    kind: Literal["job", "dataset"]
    id: str
    attempt: int
    worker_id: str


@dataclass(frozen=True)
class Capacity:
    """What a worker has for one job; None: enough for any.

    Attributes:
        devices: that the job may use at once.
        device_bytes: memory of each.
    """

    devices: int | None = None
    device_bytes: int | None = None


ANY_JOB: Final = Capacity()


@dataclass(frozen=True)
class WaitingJob:
    """A job that workers are to hear of, and what it needs on a device, if that is known."""

    id: str
    device_bytes: int | None


@dataclass(frozen=True)
class NewEvent:
    """An event to be appended to a job."""

    type: EventType
    message: str
    data: JsonObject = field(default_factory=dict)
    level: EventLevel = EventLevel.INFO


@dataclass(frozen=True)
class NewArtifact:
    """A file that was stored and is to be published with the success of its job."""

    name: str
    key: str
    size_bytes: int
    sha256: str
    content_type: str


@dataclass(frozen=True)
class JobError:
    """Why a job or a dataset failed. `param` names the request's field at fault, when there is one.

    `retryable` says whether the same request may succeed later (the system's fault, not the user's).
    """

    code: str
    message: str
    param: str | None = None
    retryable: bool = False

    def to_dict(self) -> JsonObject:
        """The JSON form kept in the row."""
        return {"code": self.code, "message": self.message, "param": self.param, "retryable": self.retryable}


@dataclass(frozen=True)
class IngestResult:
    """What became of an uploaded dataset."""

    image_count: int
    skipped_count: int
    duplicate_count: int
    size_bytes: int
    report_key: str
    class_names: list[str] | None = None
    splits: JsonObject | None = None
    statistics: JsonObject | None = None
    contact_sheet: JsonObject | None = None
