"""Parts may go straight into the bucket, by URLs that are noted."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "part_uploads",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("filename", sa.String(length=400), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("is_confirmed", sa.Boolean(), nullable=False),
        sa.Column("expires_at", TIMESTAMP, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_part_uploads")),
    )
    op.create_index(op.f("ix_part_uploads_dataset_id_number"), "part_uploads", ["dataset_id", "number"])
    op.create_index(op.f("ix_part_uploads_owner_is_confirmed"), "part_uploads", ["owner", "is_confirmed"])
    op.create_index(op.f("ix_part_uploads_expires_at"), "part_uploads", ["expires_at"])


def downgrade() -> None:
    op.drop_table("part_uploads")
