"""A Celery broker in a folder: no server, safe for several processes. Messages appear and disappear whole.

kombu's own filesystem transport creates a message's file and then writes it, and its reader moves whatever it
sees: a message read between the two is empty, which breaks the reader and loses the message (measured in the
decision about the embedded broker). Here a message is written beside its place and renamed into it, and a reader
takes it by renaming it out; a rename is atomic. What kombu asks of a transport is four methods.
"""

import json
import logging
import os
import time
import uuid
from functools import cached_property
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual

SCHEME = "embedded"
FOLDER_OPTION = "folder"

log = logging.getLogger(__name__)


class Channel(virtual.Channel):
    """One file a message, named by the time of sending; the suffix names the queue."""

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        draft = self._folder / f"{name}.draft"
        draft.write_text(json.dumps(message), encoding="utf-8")
        draft.rename(self._folder / f"{name}.{queue}.msg")

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for path in self._messages(queue):
            taken = path.with_suffix(".taken")
            try:
                path.rename(taken)
            except FileNotFoundError:
                continue  # another reader was first
            try:
                return json.loads(taken.read_text(encoding="utf-8"))
            except ValueError:
                log.warning("dropped a message that is not JSON: %s", path.name)
            finally:
                taken.unlink()
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._messages(queue))

    def _purge(self, queue: str) -> int:
        messages = self._messages(queue)
        for path in messages:
            path.unlink(missing_ok=True)
        return len(messages)

    def _messages(self, queue: str) -> list[Path]:
        """The waiting messages, oldest first."""
        suffix = f".{queue}.msg"
        names = sorted(name for name in os.listdir(self._folder) if name.endswith(suffix))
        return [self._folder / name for name in names]

    @cached_property
    def _folder(self) -> Path:
        client: Any = self.connection.client
        return Path(client.transport_options[FOLDER_OPTION])


class Transport(virtual.Transport):
    """The transport behind `embedded://`."""

    Channel = Channel
    default_port = 0
    driver_type = driver_name = SCHEME

    def driver_version(self) -> str:
        """No driver beside kombu."""
        return "N/A"


def register() -> None:
    """Teach kombu the scheme `embedded://`."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
