"""Bodies of the job endpoints."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.datasets.schemas import ErrorOut, Name
from core.models import Artifact, Job, JobEvent
from core.options import DEFAULT_LORA_RANK, TrainingOptions
from core.states import EventLevel, EventType, JobState, Phase

DatasetId = Annotated[str, Field(min_length=1, max_length=40)]
LOAD_STUDENT = 'timm.create_model("local-dir:student", pretrained=True)'
"""After unzipping student.zip."""


class JobRequest(TrainingOptions):
    """What a job is made of besides its images."""

    teacher: Annotated[str, Field(min_length=1, max_length=200, description="A name or id of GET /teachers.")]
    k: int | None = Field(
        None,
        ge=1,
        le=65536,
        description=f"Rank of the adapters; unset: {DEFAULT_LORA_RANK}, or the teacher's largest if less.",
    )
    name: Name | None = None


class ProbeIn(BaseModel):
    """Labelled images on which teacher and student are compared by a linear probe."""

    model_config = ConfigDict(extra="forbid")

    dataset_id: DatasetId


class JobCreate(JobRequest):
    """A job on a dataset that exists."""

    dataset_id: DatasetId
    probe: ProbeIn | None = None


class JobOut(BaseModel):
    """A job."""

    id: str
    owner: str
    name: str | None
    state: JobState
    phase: Phase | None
    teacher: dict[str, Any]
    method: str
    recipe: str
    r: int
    k: int
    given: dict[str, Any] = Field(description="The options that were set in the request.")
    options: dict[str, Any] = Field(
        description="Every option as it counts: the given ones, the recipe's values, the defaults. null: chosen by "
        "the engine when the job runs."
    )
    dataset_id: str
    probe: ProbeIn | None
    attempt: int
    progress: dict[str, Any] | None
    estimated_finish_at: datetime | None
    heartbeat_at: datetime | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None = Field(
        description="Of the first attempt; after a retry, when it was asked for."
    )
    device_bytes: int | None = Field(
        description="Memory that the job needs on a device, about; null where that is not known."
    )
    device_seconds: float = Field(description="How long the attempts that have ended held a worker's device.")
    finished_at: datetime | None
    error: ErrorOut | None
    result: dict[str, Any] | None
    load: str | None = Field(description="The line of Python that loads the student, when there is one.")
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job) -> "JobOut":
        """The public view of a row."""
        here = f"/jobs/{job.id}"
        links = {"self": here, "events": f"{here}/events", "artifacts": f"{here}/artifacts"}
        links |= {
            "cancel": f"{here}/cancel",
            "retry": f"{here}/retry",
            "dataset": f"/datasets/{job.dataset_id}",
        }
        told = {name: job.options[name] for name in ("method", "recipe", "r", "k")}
        plain = cls.model_fields.keys() - told.keys() - {"probe", "load", "links", "error"}
        return cls(
            **{name: getattr(job, name) for name in plain},
            **told,
            probe=ProbeIn(dataset_id=job.probe_dataset_id) if job.probe_dataset_id else None,
            error=ErrorOut.model_validate(job.error) if job.error else None,
            load=(job.result or {}).get("load", LOAD_STUDENT) if job.state is JobState.SUCCEEDED else None,
            links=links,
        )


class JobList(BaseModel):
    """A page of jobs, newest first."""

    data: list[JobOut]
    has_more: bool
    next_cursor: str | None


class EventOut(BaseModel):
    """One thing that happened to a job."""

    model_config = ConfigDict(from_attributes=True)

    seq: int
    created_at: datetime
    level: EventLevel
    type: EventType
    message: str
    data: dict[str, Any]
    attempt: int

    @classmethod
    def of(cls, event: JobEvent) -> "EventOut":
        """The public view of a row."""
        return cls.model_validate(event)


class EventList(BaseModel):
    """Events in order; ask again with `after` set to the last `seq`."""

    data: list[EventOut]
    has_more: bool


class ArtifactOut(BaseModel):
    """A file of a finished job."""

    name: str
    size_bytes: int
    sha256: str
    content_type: str
    links: dict[str, str]

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactOut":
        """The public view of a row."""
        return cls(
            name=artifact.name,
            size_bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            content_type=artifact.content_type,
            links={"self": f"/jobs/{artifact.job_id}/artifacts/{artifact.name}"},
        )


class ArtifactList(BaseModel):
    """The files of a job: empty before it succeeded."""

    data: list[ArtifactOut]
