"""What a worker process works with, opened once."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from celery import Celery
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.broker import make_celery
from core.database import Database
from core.settings import Settings
from core.storage import Storage
from worker.spares import Spares

DATABASE_TROUBLE = (DBAPIError, PoolTimeout)
_LONGEST_PAUSE_SECONDS = 5.0

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Runtime:
    """Connections of a worker, and whether it was told to stop taking work."""

    settings: Settings
    database: Database
    storage: Storage
    celery: Celery
    worker_id: str
    spares: Spares
    draining: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def open(cls, settings: Settings, celery: Celery | None = None) -> "Runtime":
        """Open everything; nothing is connected before it is used."""
        return cls(
            settings=settings,
            database=Database(settings),
            storage=Storage.from_settings(settings),
            celery=celery or make_celery(settings),
            # Unique for every start, so that a claim of a process that died is never taken for one's own.
            spares=Spares(settings),
            worker_id=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
        )

    def close(self) -> None:
        """Close what holds connections, and end what waits."""
        self.spares.close()
        self.celery.close()
        self.database.close()

    def write(self, change: Callable[[Session], T]) -> T:
        """Make one change in a transaction of its own; wait for a database that is away.

        The waiting ends when the lease would have run out long ago: another attempt has the row then.
        """
        deadline = time.monotonic() + 10 * self.settings.lease_seconds
        pause = 0.2
        while True:
            try:
                with self.database.write() as session:
                    return change(session)
            except DATABASE_TROUBLE as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("the database does not answer, trying again: %s", type(error).__name__)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
