"""The tables."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core import clock
from core.records import JsonObject
from core.states import DatasetState, EventLevel, EventType, JobState, Phase

JsonColumn = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
ID_LENGTH = 40


def _enum_column(enum: type[StrEnum], name: str) -> Enum:
    # Text with a CHECK: a new value is an ordinary migration on both databases.
    return Enum(
        enum,
        name=name,
        native_enum=False,
        length=16,
        create_constraint=True,
        values_callable=lambda e: [*map(str, e)],
    )


class Base(DeclarativeBase):
    """Root of the tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy when the class is made
        datetime: clock.UtcDateTime(),
        JsonObject: JsonColumn,
        list[str]: JsonColumn,
        list[float]: JsonColumn,
    }


class Timestamped:
    """When a row was made and last changed, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now(), onupdate=clock.now(), sort_order=91)


class Leased:
    """Columns of a row that one worker at a time works on (see core/leases)."""

    attempt: Mapped[int] = mapped_column(default=0, sort_order=70)
    """Fencing token: grows with every claim, never shrinks."""
    failed_attempts: Mapped[int] = mapped_column(default=0, sort_order=71)
    """Attempts that count against the maximum; a worker that was told to stop is not charged."""
    worker_id: Mapped[str | None] = mapped_column(String(200), sort_order=72)
    lease_expires_at: Mapped[datetime | None] = mapped_column(sort_order=73)
    heartbeat_at: Mapped[datetime | None] = mapped_column(sort_order=74)
    last_sent_at: Mapped[datetime | None] = mapped_column(sort_order=75)
    """When the workers were last told about this row."""
    send_count: Mapped[int] = mapped_column(default=0, sort_order=76)
    """Messages since the row began to wait; each one makes the next wait longer."""


class Dataset(Leased, Timestamped, Base):
    """A set of images, uploaded in parts and then ingested."""

    __tablename__ = "datasets"
    __table_args__ = (Index(None, "state", "lease_expires_at"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[DatasetState] = mapped_column(
        _enum_column(DatasetState, "state"), default=DatasetState.UPLOADING
    )
    error: Mapped[JsonObject | None]
    image_count: Mapped[int | None]
    skipped_count: Mapped[int | None]
    duplicate_count: Mapped[int | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    class_names: Mapped[list[str] | None]
    splits: Mapped[JsonObject | None]
    report_key: Mapped[str | None] = mapped_column(Text)


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


class Teacher(Timestamped, Base):
    """A checkpoint that a user uploaded."""

    __tablename__ = "teachers"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
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


class Job(Leased, Timestamped, Base):
    """One distillation."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "lease_expires_at"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[JobState] = mapped_column(_enum_column(JobState, "state"), default=JobState.QUEUED)
    phase: Mapped[Phase | None] = mapped_column(_enum_column(Phase, "phase"))
    teacher: Mapped[JsonObject]
    given: Mapped[JsonObject] = mapped_column(default=dict)
    """The options that the user set; `options` has them completed."""
    options: Mapped[JsonObject]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    probe_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
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


class JobEvent(Base):
    """One thing that happened to a job."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    level: Mapped[EventLevel] = mapped_column(_enum_column(EventLevel, "level"))
    type: Mapped[EventType] = mapped_column(_enum_column(EventType, "type"))
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
