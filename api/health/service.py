"""Whether what the API depends on is there."""

import logging
from collections.abc import Callable, Mapping

from api.resources import Resources
from core import broker, migrate
from core.errors import StorageUnavailable

log = logging.getLogger(__name__)


class NotMigrated(Exception):
    """The database has another schema than this code."""


def run_checks(resources: Resources) -> dict[str, str | None]:
    """Each dependency by name: None when it is well, else what is wrong."""
    checks: Mapping[str, Callable[[], None]] = {
        "database": resources.database.check,
        "migrations": lambda: _check_migrations(resources),
        "storage": resources.storage.check,
        "broker": lambda: broker.check(resources.celery),
    }
    return {name: _reason(name, check) for name, check in checks.items()}


def _check_migrations(resources: Resources) -> None:
    found = migrate.current_revision(resources.database.engine)
    if found != migrate.newest_revision():
        raise NotMigrated(f"the database is at {found}, this code needs {migrate.newest_revision()}")


def _reason(name: str, check: Callable[[], None]) -> str | None:
    try:
        check()
    except Exception as error:  # whatever a driver raises is the answer of this endpoint
        log.warning("not ready: %s: %s", name, error)
        # The text of a driver's error may hold addresses: the log has it, the answer says what kind it is.
        known = isinstance(error, StorageUnavailable | NotMigrated)
        return str(error) if known else type(error).__name__
    return None
