"""Runs migrations on the connection that core/migrate.py passes, or on the deployment's database."""

from alembic import context
from sqlalchemy import Connection

from core.database import Database
from core.models import Base
from core.settings import get_settings


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot alter a table: batch mode copies it.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        # Alembic believes that SQLite commits at every change of a table, and so commits after every revision: another
        # process would come in between. With this driver's settings (core/database.py) one transaction holds them all.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


passed = context.config.attributes.get("connection")
if passed is not None:
    migrate(passed)
else:
    database = Database(get_settings())
    with database.engine.begin() as connection:
        migrate(connection)
    database.close()
