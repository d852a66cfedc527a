"""An object store that is away for a while costs a job time, not its work."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self, TypeVar

from core.errors import StorageUnavailable
from core.settings import Settings
from core.storage import Storage, StoredObject
from worker.childside import Worker
from worker.protocol import LogMessage

_LONGEST_PAUSE_SECONDS = 5.0
T = TypeVar("T")


class PatientStorage(Storage):
    """Waits for a store that does not answer, and says so; each object is sent or fetched as a whole.

    Attributes:
        at_once: the same store without the waiting, for what has a next time.
    """

    def __init__(self, storage: Storage, seconds: float, worker: Worker) -> None:
        """Wait at most `seconds` for each object."""
        super().__init__(storage.store)
        self.at_once = storage
        self._seconds, self._worker = seconds, worker

    @classmethod
    def open(cls, settings: Settings, worker: Worker) -> Self:
        """The deployment's store."""
        return cls(Storage.from_settings(settings), settings.storage_patience_seconds, worker)

    def put_file(self, key: str, source: Path | IO[bytes]) -> StoredObject:
        """See `Storage.put_file`."""
        return self._wait_for(lambda: self.at_once.put_file(key, source))

    def get_bytes(self, key: str) -> bytes:
        """See `Storage.get_bytes`."""
        return self._wait_for(lambda: self.at_once.get_bytes(key))

    def download(self, key: str, target: Path) -> StoredObject:
        """See `Storage.download`."""
        return self._wait_for(lambda: self.at_once.download(key, target))

    def _wait_for(self, action: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._seconds
        pause = 0.2
        is_known = False
        while True:
            try:
                result = action()
            except StorageUnavailable as error:
                if time.monotonic() + pause > deadline:
                    raise
                if not is_known:
                    self._say(f"The object store does not answer ({error}); waiting for it.", "warning")
                    is_known = True
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                if is_known:
                    self._say("The object store answers again.", "info")
                return result

    def _say(self, message: str, level: str) -> None:
        self._worker.send(LogMessage.model_validate({"level": level, "message": message}))
