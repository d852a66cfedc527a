"""How fast an owner's requests may come, over all processes of the API where they share a Redis."""

import logging
import threading
import time
from typing import Final

import limits
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from core.errors import RateLimited
from core.settings import RATE_LIMITS_OFF, Settings

CONNECT_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 5.0
"""After a Redis that did not answer, this long nobody waits for it again."""

log = logging.getLogger(__name__)


class RateLimiter:
    """Counts requests in Redis where that is the broker, else in this process.

    A Redis that is away stops no request: meanwhile each process counts for itself.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = (
            [] if settings.rate_limits == RATE_LIMITS_OFF else limits.parse_many(settings.rate_limits)
        )
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        shared = _shared_storage(settings)
        self._shared = None if shared is None else SlidingWindowCounterRateLimiter(shared)
        self._away_until = 0.0
        self._lock = threading.Lock()

    def check(self, owner: str) -> None:
        """Count a request.

        Raises:
            RateLimited: when it is one too many.
        """
        for limit in self._limits:
            retry_after = self._hit(limit, owner)
            if retry_after is not None:
                raise RateLimited(f"More than {limit} by {owner!r}.", retry_after)

    def _hit(self, limit: limits.RateLimitItem, owner: str) -> float | None:
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return _hit(self._shared, limit, owner)
            except StorageError as error:
                log.warning("requests are counted by this process alone: %s", error.storage_error)
                self._away_until = time.monotonic() + PAUSE_SECONDS
        # The storage in memory is safe for threads in single steps; what it answers after a step must fit it.
        with self._lock:
            return _hit(self._local, limit, owner)


def _hit(limiter: SlidingWindowCounterRateLimiter, limit: limits.RateLimitItem, owner: str) -> float | None:
    """None when the request fits, else the seconds until one may."""
    if limiter.hit(limit, owner):
        return None
    return max(0.0, limiter.get_window_stats(limit, owner).reset_time - time.time())


def _shared_storage(settings: Settings) -> Storage | None:
    url = settings.broker_url
    if url is None or not url.startswith(("redis://", "rediss://")):
        return None
    return RedisStorage(
        url,
        key_prefix="wecolora-rates",
        wrap_exceptions=True,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=CONNECT_SECONDS,
    )
