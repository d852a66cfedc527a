"""Brings the database to the schema of this code: `python -m core.migrate`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from core.database import WRITES, Database
from core.logs import configure_logging
from core.settings import get_settings

MIGRATIONS: Final = Path(__file__).resolve().parent.parent / "migrations"
POSTGRES_LOCK: Final = 7_236_402
"""Two instances that start together migrate one after the other."""

log = logging.getLogger(__name__)


def upgrade(engine: Engine) -> None:
    """Upgrade to the newest revision; nothing happens when it is there already."""
    config = make_config()
    with (
        engine.execution_options(**{WRITES: True}).connect() as connection,
        tables_may_be_copied(connection),
    ):
        # On SQLite the transaction of a writer is the lock: begin it before anything is read.
        if connection.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": POSTGRES_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


@contextmanager
def tables_may_be_copied(connection: Connection) -> Iterator[None]:
    """Let SQLite replace a table, which is how it alters one, without deleting the rows that refer to it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    # The setting cannot change inside a transaction: asked of the driver, before SQLAlchemy begins one.
    driver = connection.connection.cursor()
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        connection.rollback()
        driver.execute("PRAGMA foreign_keys = ON")
        driver.close()


def is_current(engine: Engine) -> bool:
    """Whether the database has exactly the newest revision."""
    return current_revision(engine) == newest_revision()


def newest_revision() -> str | None:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(make_config()).get_current_head()


def current_revision(engine: Engine) -> str | None:
    """The revision the database has; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def make_config() -> Config:
    """Alembic's configuration without its file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


if __name__ == "__main__":
    configure_logging(get_settings())
    upgrade(Database(get_settings()).engine)
    log.info("the database is at revision %s", newest_revision())
