"""Datasets say what their images are like, and show some of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
COLUMNS = ("statistics", "contact_sheet")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("datasets", sa.Column(name, JSON, nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("datasets", name)
