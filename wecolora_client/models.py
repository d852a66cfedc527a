"""What the service answers. Fields that a newer service adds are kept and do no harm."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
"""States of a job that do not change any more."""


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, extra="allow")


class FieldError(Answer):
    """A field of a request that is at fault."""

    field: str
    message: str


class Problem(Answer):
    """Why a request was refused (RFC 9457)."""

    status: int
    title: str
    code: str | None = None
    detail: str | None = None
    errors: tuple[FieldError, ...] = ()


class Failure(Answer):
    """Why a job or a dataset failed. `retryable`: the fault is the system's."""

    code: str
    message: str
    param: str | None = None
    retryable: bool = False


class Part(Answer):
    """An uploaded part of a dataset."""

    number: int
    size_bytes: int
    sha256: str


class UploadTarget(Answer):
    """Where a part is to be sent; `confirm` is the path that is told afterwards, where there is one."""

    direct: bool
    method: str
    url: str
    headers: dict[str, str]
    confirm: str | None = None


class Dataset(Answer):
    """Uploaded images. The counts are known once it is ``ready``."""

    id: str
    name: str
    state: str
    error: Failure | None
    image_count: int | None
    skipped_count: int | None
    duplicate_count: int | None
    class_names: list[str] | None


class Job(Answer):
    """A distillation. `result` and `load` are there once it has succeeded."""

    id: str
    name: str | None
    state: str
    phase: str | None
    teacher: dict[str, Any]
    method: str
    recipe: str
    r: int
    k: int
    dataset_id: str
    attempt: int
    progress: dict[str, Any] | None
    estimated_finish_at: datetime | None
    error: Failure | None
    result: dict[str, Any] | None
    load: str | None

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in TERMINAL


class Network(Answer):
    """What a network is and costs; None for what cannot be known beforehand."""

    depth: int
    parameters: int | None
    gmacs: float | None
    size_bytes: int | None


class DryRun(Answer):
    """What a job would come to. `unknown` says why a number is None."""

    teacher_network: Network
    student_network: Network
    images: int | None
    steps: int | None
    unknown: dict[str, str]


class Event(Answer):
    """One thing that happened to a job; `seq` counts from 1 without gaps."""

    seq: int
    created_at: datetime
    level: str
    type: str
    message: str
    data: dict[str, Any]
    attempt: int


class Artifact(Answer):
    """A file of a job that succeeded."""

    name: str
    size_bytes: int
    sha256: str
    content_type: str
