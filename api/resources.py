"""What the services work with, opened once a process."""

from dataclasses import dataclass
from typing import Annotated

from celery import Celery
from fastapi import Depends, Request

from api.jobs.watch import JobWatch
from api.rates import RateLimiter
from core.broker import make_celery
from core.catalogue import Catalogue, load_catalogue
from core.database import Database
from core.direct_uploads import DirectUploads
from core.settings import Settings
from core.storage import Storage


@dataclass(frozen=True)
class Resources:
    """Connections and facts of a running API."""

    settings: Settings
    database: Database
    storage: Storage
    direct_uploads: DirectUploads | None
    celery: Celery
    catalogue: Catalogue
    rates: RateLimiter
    watch: JobWatch

    @classmethod
    def open(cls, settings: Settings) -> "Resources":
        """Open everything; nothing is connected before it is used."""
        storage = Storage.from_settings(settings)
        database = Database(settings)
        return cls(
            settings=settings,
            database=database,
            storage=storage,
            direct_uploads=DirectUploads.from_settings(settings, storage),
            celery=make_celery(settings),
            catalogue=load_catalogue(settings.teacher_catalogue),
            rates=RateLimiter(settings),
            watch=JobWatch(database, settings.event_poll_seconds),
        )

    def close(self) -> None:
        """Close what holds connections."""
        self.celery.close()
        self.database.close()


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


ResourcesDep = Annotated[Resources, Depends(_resources)]
