"""How much an owner may have: the deployment's numbers, or the owner's own where an administrator has set some.

Each check belongs in the transaction that adds what it allows: it holds the owner's row until the end, so that two
requests cannot both take the last place. Done before, too, it refuses early what would be refused in the end.
"""

from dataclasses import dataclass, fields
from typing import Final

from sqlalchemy.orm import Session

from core.errors import DeviceTimeSpent, QuotaExceeded, TooManyJobs
from core.models import Owner
from core.queries import owners as queries
from core.settings import Settings
from core.states import JobState

QUEUE_RETRY_SECONDS: Final = 30


@dataclass(frozen=True)
class Quotas:
    """The most an owner may have; None: any number."""

    bytes: int | None
    images: int | None
    running_jobs: int | None
    queued_jobs: int | None
    device_seconds: int | None
    webhooks: int | None


def quotas_of(owner: Owner, settings: Settings) -> Quotas:
    """What counts for this owner."""
    names = [field.name for field in fields(Quotas)]
    own = {name: getattr(owner, f"quota_{name}") for name in names}
    return Quotas(**{n: getattr(settings, f"quota_{n}") if own[n] is None else own[n] for n in names})


def check_bytes(session: Session, settings: Settings, owner: str, more_bytes: int) -> None:
    """Refuse an upload that is too much.

    Args:
        session: of the transaction that stores it, or that looks ahead.
        settings: of the deployment.
        owner: to whom it would belong.
        more_bytes: its size; 0 when its row is in the transaction already.

    Raises:
        QuotaExceeded: says how much is taken.
    """
    limit = quotas_of(queries.lock_owner(session, owner), settings).bytes
    if limit is None:
        return
    used = queries.bytes_of(session, owner)
    if used + more_bytes > limit:
        raise QuotaExceeded("bytes", owner, limit, used + more_bytes)


def images_left(session: Session, settings: Settings, owner: str) -> int | None:
    """How many images the owner may still have; None: any number."""
    limit = quotas_of(queries.get_owner(session, owner), settings).images
    return None if limit is None else max(0, limit - queries.images_of(session, owner))


def check_images(session: Session, settings: Settings, owner: str) -> None:
    """Refuse a dataset of an owner who may have no further image.

    Raises:
        QuotaExceeded: says how many there are.
    """
    if images_left(session, settings, owner) == 0:
        limit = quotas_of(queries.get_owner(session, owner), settings).images
        raise QuotaExceeded("images", owner, limit or 0, queries.images_of(session, owner) + 1)


def check_webhooks(session: Session, settings: Settings, owner: str) -> None:
    """Refuse an endpoint of an owner who has as many as may be.

    Raises:
        QuotaExceeded: says how many there are.
    """
    limit = quotas_of(queries.lock_owner(session, owner), settings).webhooks
    count = queries.count_webhooks(session, owner)
    if limit is not None and count >= limit:
        raise QuotaExceeded("webhooks", owner, limit, count + 1)


def check_new_job(session: Session, settings: Settings, owner: str) -> None:
    """Refuse a job of an owner who has too many, or whose jobs have had their time.

    Raises:
        TooManyJobs: worth another try when one has begun.
        DeviceTimeSpent: worth another try when the first job of the period is older than it.
    """
    quotas = quotas_of(queries.lock_owner(session, owner), settings)
    if quotas.queued_jobs is not None:
        waiting = queries.count_jobs(session, owner, JobState.QUEUED)
        if waiting >= quotas.queued_jobs:
            message = (
                f"{waiting:,} jobs of {owner!r} wait, which is as many as may; try again when one has begun."
            )
            raise TooManyJobs(message, QUEUE_RETRY_SECONDS)
    if quotas.device_seconds is not None:
        days = settings.quota_period_days
        spent = queries.usage_of(session, owner, days).device_seconds
        if spent >= quotas.device_seconds:
            message = (
                f"The jobs of {owner!r} may have {quotas.device_seconds:,} seconds of a device in {days} days "
                f"and have had {spent:,.0f}."
            )
            raise DeviceTimeSpent(message, queries.seconds_until_older(session, owner, days))
