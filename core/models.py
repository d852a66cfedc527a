"""The tables."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.model_base import ID_LENGTH, Base, Deletable, Leased, Timestamped, enum_column
from core.principals import OWNER_LENGTH, Scope
from core.records import JsonObject
from core.states import DatasetState, DeliveryState, EventLevel, EventType, JobState, Phase


class Owner(Timestamped, Base):
    """To whom datasets, jobs and teachers belong. A quota that is null is the deployment's (core/quotas.py)."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(OWNER_LENGTH), primary_key=True)
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    quota_images: Mapped[int | None] = mapped_column(BigInteger)
    quota_running_jobs: Mapped[int | None]
    quota_queued_jobs: Mapped[int | None]
    quota_device_seconds: Mapped[int | None] = mapped_column(BigInteger)
    quota_webhooks: Mapped[int | None]
    last_served_at: Mapped[datetime | None]
    """When a worker last took one of the owner's jobs: who was served longest ago is next."""


class ApiKey(Timestamped, Base):
    """A key of an owner. The key itself is not here: its prefix finds the row, its hash proves it."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    scope: Mapped[Scope] = mapped_column(enum_column(Scope, "scope"))
    prefix: Mapped[str] = mapped_column(String(40), unique=True)
    key_sha256: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditEntry(Base):
    """Who changed what, when, from where. Rows are added in the transaction of the change and never altered.

    Nothing refers to another table, so that an entry outlives what it names.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "owner", "id"), Index(None, "target", "id"))

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    owner: Mapped[str] = mapped_column(String(OWNER_LENGTH))
    """Whose key was used."""
    key_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    action: Mapped[str] = mapped_column(String(40))
    target: Mapped[str] = mapped_column(String(200))
    address: Mapped[str | None] = mapped_column(String(100))
    detail: Mapped[JsonObject | None]


class Dataset(Leased, Deletable, Timestamped, Base):
    """A set of images, uploaded in parts and then ingested."""

    __tablename__ = "datasets"
    __table_args__ = (Index(None, "state", "lease_expires_at"), Index(None, "owner", "id"))

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[DatasetState] = mapped_column(
        enum_column(DatasetState, "state"), default=DatasetState.UPLOADING
    )
    error: Mapped[JsonObject | None]
    progress: Mapped[JsonObject | None]
    """Of the ingest while a worker holds it."""
    image_count: Mapped[int | None]
    skipped_count: Mapped[int | None]
    duplicate_count: Mapped[int | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    class_names: Mapped[list[str] | None]
    splits: Mapped[JsonObject | None]
    report_key: Mapped[str | None] = mapped_column(Text)
    statistics: Mapped[JsonObject | None]
    contact_sheet: Mapped[JsonObject | None]
    """Where it lies, its size and hash, and how its tiles are laid out."""


class DatasetPart(Base):
    """One numbered upload of a dataset: an archive or a single image."""

    __tablename__ = "dataset_parts"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    number: Mapped[int]
    key: Mapped[str] = mapped_column(Text)
    filename: Mapped[str | None] = mapped_column(String(400))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    content_type: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class PartUpload(Base):
    """A URL that was given out for a part that goes straight into the bucket (core/direct_uploads.py).

    It outlives its dataset: whoever has the URL can store the object as long as it is good, and then somebody must know
    of it.
    """

    __tablename__ = "part_uploads"
    __table_args__ = (Index(None, "dataset_id", "number"), Index(None, "owner", "is_confirmed"))

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    owner: Mapped[str] = mapped_column(String(OWNER_LENGTH))
    number: Mapped[int]
    filename: Mapped[str | None] = mapped_column(String(400))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    is_confirmed: Mapped[bool] = mapped_column(default=False)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class Teacher(Timestamped, Base):
    """A checkpoint that a user uploaded."""

    __tablename__ = "teachers"
    __table_args__ = (Index(None, "owner", "id"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    name: Mapped[str] = mapped_column(String(200))
    architecture: Mapped[str] = mapped_column(String(200))
    image_size: Mapped[int]
    key: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    depth: Mapped[int]
    embed_dim: Mapped[int]
    parameters: Mapped[int] = mapped_column(BigInteger)
    mean: Mapped[list[float] | None]
    std: Mapped[list[float] | None]


class Job(Leased, Deletable, Timestamped, Base):
    """One distillation."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "state", "lease_expires_at"),
        Index(None, "owner", "id"),
        Index(None, "owner", "state", "id"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    name: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[JobState] = mapped_column(enum_column(JobState, "state"), default=JobState.QUEUED)
    phase: Mapped[Phase | None] = mapped_column(enum_column(Phase, "phase"))
    teacher: Mapped[JsonObject]
    given: Mapped[JsonObject] = mapped_column(default=dict)
    """The options that the user set; `options` has them completed."""
    options: Mapped[JsonObject]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    probe_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    device_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Memory that it needs on a device, about; null where nobody can tell (core/device_memory.py)."""
    error: Mapped[JsonObject | None]
    cancel_requested_at: Mapped[datetime | None]
    progress: Mapped[JsonObject | None]
    estimated_finish_at: Mapped[datetime | None]
    checkpoint: Mapped[JsonObject | None]
    result: Mapped[JsonObject | None]
    event_count: Mapped[int] = mapped_column(default=0)
    """The last event's `seq`. Raising it locks the row, so events appear in the order of their numbers."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    """When the running attempt began."""
    device_seconds: Mapped[float] = mapped_column(default=0.0)
    """How long the attempts that have ended held a worker's device."""


class JobEvent(Base):
    """One thing that happened to a job."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    level: Mapped[EventLevel] = mapped_column(enum_column(EventLevel, "level"))
    type: Mapped[EventType] = mapped_column(enum_column(EventType, "type"))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[JsonObject]
    attempt: Mapped[int]


class Artifact(Base):
    """A file of a finished job. Rows appear only in the transaction that makes the job `succeeded`."""

    __tablename__ = "artifacts"
    __table_args__ = (CheckConstraint("size_bytes >= 0", name="size"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    content_type: Mapped[str] = mapped_column(String(200))
    attempt: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class Deletion(Base):
    """Objects that are to be removed; the row goes when they are gone."""

    __tablename__ = "deletions"

    prefix: Mapped[str] = mapped_column(String(200), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())


class IdempotencyKey(Base):
    """What a request that may be sent again was answered; made in the transaction of what it made."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(String(OWNER_LENGTH), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[JsonObject]
    location: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=clock.now(), index=True)


class Webhook(Timestamped, Base):
    """An endpoint of an owner's that is told of events."""

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "owner", "id"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(String(200))
    events: Mapped[list[str]]
    active: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    """Why the service made it inactive; null when its owner did."""
    secret: Mapped[str] = mapped_column(String(100))
    """As it is, not its hash: every message is signed with it."""
    previous_secret: Mapped[str | None] = mapped_column(String(100))
    previous_secret_expires_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    """The first failed try since the last that succeeded."""


class WebhookEvent(Base):
    """What endpoints are to be told; made in the transaction of the change (core/webhooks/outbox.py)."""

    __tablename__ = "webhook_events"
    __table_args__ = (Index(None, "is_spread", "id"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner: Mapped[str] = mapped_column(String(OWNER_LENGTH))
    type: Mapped[str] = mapped_column(String(40))
    data: Mapped[JsonObject]
    created_at: Mapped[datetime] = mapped_column(default=clock.now(), index=True)
    is_spread: Mapped[bool] = mapped_column(default=False)
    """Whether each endpoint that wants it has its delivery."""


class WebhookDelivery(Base):
    """One event for one endpoint, until it was taken or given up."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index(None, "webhook_id", "id"),
        Index(None, "state", "next_attempt_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event_id: Mapped[str] = mapped_column(ForeignKey("webhook_events.id", ondelete="CASCADE"), index=True)
    state: Mapped[DeliveryState] = mapped_column(
        enum_column(DeliveryState, "state"), default=DeliveryState.PENDING
    )
    attempt: Mapped[int] = mapped_column(default=0)
    """Fencing token, as of a job: grows with every claim."""
    tries: Mapped[int] = mapped_column(default=0)
    """Failed ones since it was made or asked for again: which pause comes next."""
    next_attempt_at: Mapped[datetime | None] = mapped_column(default=clock.now())
    lease_expires_at: Mapped[datetime | None]
    """Until when a dispatcher is sending it."""
    attempts: Mapped[list[JsonObject]] = mapped_column(default=list)
    """What became of the last ones."""
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
