"""Engine and sessions: SQLite (WAL) or Postgres behind one door."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from core.settings import Settings

SQLITE_BUSY_TIMEOUT_MS = 15_000
SQLITE_SWITCH_ATTEMPTS = 50
SQLITE_SWITCH_PAUSE_SECONDS = 0.1
SERVER_CONNECTIONS = 20
"""That a process has open at most to a Postgres server; half of them stay open."""
WRITES = "wecolora_writes"
# Of libpq: a server whose machine or network is gone is noticed within a lease or two, and not after hours.
_NOTICE_SILENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


def database_url(settings: Settings) -> str:
    """The URL in use: the setting, or a SQLite file in the data folder."""
    return settings.database_url or f"sqlite:///{settings.data_dir.resolve() / 'wecolora.db'}"


class Database:
    """Sessions for reading and for writing.

    `with database.write() as session:` is the unit of work: it commits once, at the end, or rolls back.
    `with database.read() as session:` sees what is committed and never blocks a writer.
    """

    def __init__(self, settings: Settings) -> None:
        url = make_url(database_url(settings))
        self.engine = _sqlite_engine(url) if url.get_backend_name() == "sqlite" else _server_engine(url)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(self.engine.execution_options(**{WRITES: True}), expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session whose changes are thrown away."""
        with self._readers() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits when the block ends well."""
        with self._writers.begin() as session:
            yield session

    def check(self) -> None:
        """Raise when the database cannot be reached."""
        with self.engine.connect() as connection:
            connection.execute(text("select 1"))

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _server_engine(url: URL) -> Engine:
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=SERVER_CONNECTIONS // 2,
        max_overflow=SERVER_CONNECTIONS // 2,
        pool_timeout=10,
        connect_args=_NOTICE_SILENCE,
    )


def _sqlite_engine(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # One connection a thread of the API at most; sessions move between threads but are never shared.
    engine = create_engine(url, pool_size=10, max_overflow=30, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver's own transactions begin too late and never IMMEDIATE: off; see _on_sqlite_begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
    _use_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_write_ahead_log(cursor: DBAPICursor) -> None:
    # The file's first users may switch it at the same time, which SQLite refuses without asking the busy timeout.
    for attempts_left in reversed(range(SQLITE_SWITCH_ATTEMPTS)):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if not attempts_left:
                raise
            time.sleep(SQLITE_SWITCH_PAUSE_SECONDS)
        else:
            return


def _on_sqlite_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer (SQLITE_BUSY at once), so
    # writers take the lock at the start and queue up behind the busy timeout.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
