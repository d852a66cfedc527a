"""Owners delete what is theirs: rows are hidden at once, objects are removed afterwards."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("prefix", sa.String(length=200), nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("prefix", name=op.f("pk_deletions")),
    )
    for table in ("datasets", "jobs"):
        op.add_column(table, sa.Column("deleted_at", TIMESTAMP, nullable=True))
    # What earlier releases kept for ever: uploaded files that were read, checkpoints of jobs that succeeded.
    op.execute(
        "insert into deletions (prefix, created_at) "
        "select 'datasets/' || id || '/parts', current_timestamp from datasets where state in ('ready', 'failed')"
    )
    op.execute(
        "insert into deletions (prefix, created_at) "
        "select 'jobs/' || id || '/checkpoints', current_timestamp from jobs where state = 'succeeded'"
    )


def downgrade() -> None:
    # Without the columns, what is hidden would be seen again.
    op.execute("delete from jobs where deleted_at is not null")
    op.execute(
        "delete from datasets where deleted_at is not null "
        "and id not in (select dataset_id from jobs) "
        "and id not in (select probe_dataset_id from jobs where probe_dataset_id is not null)"
    )
    for table in ("datasets", "jobs"):
        op.drop_column(table, "deleted_at")
    op.drop_table("deletions")
