"""A dataset says how far its ingest is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("datasets", sa.Column("progress", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "progress")
