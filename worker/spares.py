"""A trainer that waits for its job with its libraries loaded: the job begins seconds sooner.

Loading torch and timm takes longer than many a job's first steps. One spare is kept; it is started while the worker is
idle or a job delivers, when the devices have nothing to do.
"""

import threading
from dataclasses import dataclass, field

from core.settings import Settings, to_environment
from worker.child import ChildProcess

TRAINER = "worker.trainer"

# Threads of a parallel region that wait by spinning take the core from the very thread they wait for when other
# processes need it too. Short spinning costs little on an idle machine (docs/decisions/0008-short-spinning.md).
CHILD_DEFAULTS = {"GOMP_SPINCOUNT": "1000"}


@dataclass
class Spares:
    """Children of one worker process, started ahead where that pays."""

    settings: Settings
    _spare: ChildProcess | None = None
    _is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, module: str) -> ChildProcess:
        """A child that waits for its specification: the spare, or a new one."""
        with self._lock:
            spare = self._spare if module == TRAINER else None
            if spare is not None:
                self._spare = None
        if spare is not None:
            if spare.is_alive:
                return spare
            spare.close()
        return self._start(module)

    def refill(self) -> None:
        """Start a spare where there is none."""
        with self._lock:
            if self._is_closed or not self.settings.spare_trainer:
                return
            if self._spare is not None and not self._spare.is_alive:
                self._spare.close()
                self._spare = None
            if self._spare is None:
                self._spare = self._start(TRAINER, is_spare=True)

    def close(self) -> None:
        """End the spare, and start none again."""
        with self._lock:
            self._is_closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def _start(self, module: str, *, is_spare: bool = False) -> ChildProcess:
        return ChildProcess(module, {**CHILD_DEFAULTS, **to_environment(self.settings)}, loads_ahead=is_spare)
