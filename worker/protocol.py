"""What a worker and its child say to each other: one line of JSON a message.

The worker writes one specification to the child's standard input and then nothing: the end of that stream tells the
child that its worker is gone. The child writes messages to a pipe of their own, so that whatever a library prints
cannot be taken for one.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.catalogue import ResolvedTeacher
from core.options import JobOptions
from core.states import Phase

LOAD_AHEAD = "--load-ahead"
"""Tells a child to load its libraries before it has a specification."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class CheckpointRef(_Frozen):
    """A stored checkpoint."""

    key: str
    sha256: str
    step: int


class DatasetRef(_Frozen):
    """An ingested dataset."""

    id: str
    report_key: str


class JobSpec(_Frozen):
    """All that a trainer needs to know. `teacher_sha256` is set for an uploaded teacher."""

    job_id: str
    attempt: int
    teacher: ResolvedTeacher
    teacher_sha256: str | None
    options: JobOptions
    dataset: DatasetRef
    probe: DatasetRef | None
    checkpoints: list[CheckpointRef]
    """To resume from, the newest first."""
    scratch: Path
    cache: Path
    cache_bytes: int
    checkpoint_seconds: float


class PartRef(_Frozen):
    """One uploaded part."""

    key: str
    filename: str
    sha256: str


class IngestSpec(_Frozen):
    """All that an ingester needs to know."""

    dataset_id: str
    attempt: int
    parts: list[PartRef]
    scratch: Path
    max_images: int
    max_pixels: int
    max_bytes: int
    stored_side: int = 0


class PhaseMessage(_Frozen):
    """The child begins a phase."""

    type: Literal["phase"] = "phase"
    phase: Phase


class ProgressMessage(_Frozen):
    """How far the child is; `is_metric` asks for an event beside the row."""

    type: Literal["progress"] = "progress"
    progress: dict[str, Any]
    is_metric: bool = False


class CheckpointMessage(_Frozen):
    """A checkpoint lies in the object store; it counts once the worker has recorded it."""

    type: Literal["checkpoint"] = "checkpoint"
    checkpoint: CheckpointRef
    previous: CheckpointRef | None = None
    """Known to be whole, in case that the new one is found damaged."""


class LogMessage(_Frozen):
    """Something that the job's owner should know."""

    type: Literal["log"] = "log"
    level: Literal["info", "warning"] = "info"
    message: str


class ArtifactRef(_Frozen):
    """A stored file of the result."""

    name: str
    key: str
    size_bytes: int
    sha256: str
    content_type: str


class ResultMessage(_Frozen):
    """The work is done and its files are stored."""

    type: Literal["result"] = "result"
    result: dict[str, Any]
    artifacts: list[ArtifactRef] = Field(default_factory=list)


class ErrorMessage(_Frozen):
    """The work cannot be done. `is_final`: another attempt would end the same way."""

    type: Literal["error"] = "error"
    code: str
    message: str
    param: str | None = None
    retryable: bool = False
    is_final: bool = True


class StoppedMessage(_Frozen):
    """The child stopped because it was told to."""

    type: Literal["stopped"] = "stopped"


EndMessage = ResultMessage | ErrorMessage | StoppedMessage
Message = Annotated[
    PhaseMessage
    | ProgressMessage
    | CheckpointMessage
    | LogMessage
    | ResultMessage
    | ErrorMessage
    | StoppedMessage,
    Field(discriminator="type"),
]

_MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)


def decode(line: bytes) -> Message:
    """Read one message."""
    return _MESSAGES.validate_json(line)


def encode(message: BaseModel) -> bytes:
    """Write one message or specification."""
    return message.model_dump_json().encode() + b"\n"
