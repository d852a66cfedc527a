"""What the tables are built on: naming of constraints, types of columns, and columns that several tables have."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, Enum, MetaData, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core import clock
from core.records import JsonObject

JsonColumn = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
ID_LENGTH = 40


def enum_column(enum: type[StrEnum], name: str) -> Enum:
    """Text with a CHECK: a new value is an ordinary migration on both databases."""
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
        list[JsonObject]: JsonColumn,
    }


class Timestamped:
    """When a row was made and last changed, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now(), onupdate=clock.now(), sort_order=91)


class Deletable:
    """A row that its owner can delete and that others still refer to."""

    deleted_at: Mapped[datetime | None] = mapped_column(sort_order=80)
    """Since when nobody sees it."""


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
