"""Jobs say what was given beside what it came to, and have a phase before training."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
STATES = ("queued", "running", "succeeded", "failed", "cancelled")
PHASES = ("fetching", "distilling", "merging", "probing", "exporting", "publishing")
# What every job was before there was a choice.
FORMER = '{"method": "wecolora", "recipe": "paper"}'


def _text(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


def _allow_phases(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    # SQLite copies the table, and a copy knows only the checks that it is told of.
    with op.batch_alter_table("jobs") as batch:
        if op.get_bind().dialect.name == "sqlite":
            batch.alter_column("state", type_=_text("state", *STATES), existing_nullable=False)
        batch.alter_column(
            "phase",
            existing_type=_text("phase", *before),
            type_=_text("phase", *after),
            existing_nullable=True,
        )


def upgrade() -> None:
    _allow_phases(PHASES, ("preparing", *PHASES))
    op.add_column("jobs", sa.Column("given", JSON, nullable=False, server_default="{}"))
    jobs = sa.table("jobs", sa.column("given", JSON), sa.column("options", JSON))
    if op.get_bind().dialect.name == "sqlite":
        with_recipe = sa.func.json_patch(jobs.c.options, FORMER)
    else:
        with_recipe = jobs.c.options.op("||")(sa.cast(sa.literal(FORMER, sa.Text), postgresql.JSONB))
    op.execute(jobs.update().values(given=jobs.c.options, options=with_recipe))


def downgrade() -> None:
    op.execute("update jobs set phase = null where phase = 'preparing'")
    op.drop_column("jobs", "given")
    _allow_phases(("preparing", *PHASES), PHASES)
