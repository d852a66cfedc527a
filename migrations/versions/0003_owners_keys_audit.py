"""Everything belongs to an owner; owners have API keys and quotas; changes are written down."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
TIMESTAMP = sa.DateTime(timezone=True)
OWNED = ("datasets", "teachers", "jobs")
# SQLite copies a table to drop a column, and a copy knows only the checks that it is told of.
CHECKED = {
    "datasets": {"state": ("uploading", "ingesting", "ready", "failed")},
    "teachers": {},
    "jobs": {
        "state": ("queued", "running", "succeeded", "failed", "cancelled"),
        "phase": ("preparing", "fetching", "distilling", "merging", "probing", "exporting", "publishing"),
    },
}


def _text(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    op.create_table(
        "owners",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=True),
        sa.Column("quota_images", sa.BigInteger(), nullable=True),
        sa.Column("quota_running_jobs", sa.Integer(), nullable=True),
        sa.Column("quota_queued_jobs", sa.Integer(), nullable=True),
        sa.Column("quota_device_seconds", sa.BigInteger(), nullable=True),
        sa.Column("last_served_at", TIMESTAMP, nullable=True),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_owners")),
    )
    # Whoever used the service before there were owners.
    op.execute(
        "insert into owners (name, created_at, updated_at) values ('local', current_timestamp, current_timestamp)"
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("scope", _text("scope", "read", "write", "admin"), nullable=False),
        sa.Column("prefix", sa.String(length=40), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("expires_at", TIMESTAMP, nullable=True),
        sa.Column("last_used_at", TIMESTAMP, nullable=True),
        sa.Column("revoked_at", TIMESTAMP, nullable=True),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["owners.name"], name=op.f("fk_api_keys_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index(op.f("ix_api_keys_owner"), "api_keys", ["owner"])
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=100), nullable=True),
        sa.Column("detail", JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index(op.f("ix_audit_entries_owner_id"), "audit_entries", ["owner", "id"])
    op.create_index(op.f("ix_audit_entries_target_id"), "audit_entries", ["target", "id"])
    for table in OWNED:
        # By hand, because Alembic cannot add a reference to a table of SQLite without copying it.
        op.execute(
            f"alter table {table} add column owner varchar(40) default 'local' not null "
            f"constraint fk_{table}_owner references owners (name)"
        )
        op.create_index(op.f(f"ix_{table}_owner_id"), table, ["owner", "id"])
    op.create_index(op.f("ix_jobs_owner_state_id"), "jobs", ["owner", "state", "id"])
    op.add_column("jobs", sa.Column("claimed_at", TIMESTAMP, nullable=True))
    op.add_column("jobs", sa.Column("device_seconds", sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_owner_state_id"), "jobs")
    for table in OWNED:
        op.drop_index(op.f(f"ix_{table}_owner_id"), table)
        with op.batch_alter_table(table) as batch:
            if op.get_bind().dialect.name == "sqlite":
                for column, values in CHECKED[table].items():
                    batch.alter_column(
                        column, type_=_text(column, *values), existing_nullable=column == "phase"
                    )
            batch.drop_column("owner")
            if table == "jobs":
                batch.drop_column("claimed_at")
                batch.drop_column("device_seconds")
    op.drop_table("audit_entries")
    op.drop_table("api_keys")
    op.drop_table("owners")
