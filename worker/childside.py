"""The child's end: reads its specification, reports, stops when told, and ends when its worker is gone."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

from pydantic import BaseModel

from worker.protocol import LOAD_AHEAD, ErrorMessage, StoppedMessage, encode

_NICENESS = 5
Spec = TypeVar("Spec", bound=BaseModel)


class Stopped(BaseException):
    """The worker asked this process to stop. No `Exception`, so that nothing takes it for a failure."""


class Worker:
    """The worker, as its child sees it."""

    def __init__(self, events_fd: int) -> None:
        self._events_fd = events_fd
        self._deferrals = 0
        self._stopping = False
        self.stop_requested = False
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which decides

    def read_spec(self, kind: type[Spec]) -> Spec:
        """Read the specification, then watch standard input for its end; without one there is nothing to do."""
        line = sys.stdin.buffer.readline()
        if not line:
            os._exit(0)
        spec = kind.model_validate_json(line)
        threading.Thread(target=_end_with_worker, daemon=True).start()
        return spec

    def send(self, message: BaseModel) -> None:
        """Report something. A request to stop never cuts a message in two."""
        with self.deferring_stop():
            rest = memoryview(encode(message))
            while rest:
                rest = rest[os.write(self._events_fd, rest) :]
        self._stop_if_asked()

    @contextmanager
    def deferring_stop(self) -> Iterator[None]:
        """Inside, a request to stop only sets `stop_requested`, for code that has to stop at a point of its own."""
        self._deferrals += 1
        try:
            yield
        finally:
            self._deferrals -= 1

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = True
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.stop_requested and not self._deferrals and not self._stopping:
            self.stop_now()

    def stop_now(self) -> NoReturn:
        """Stop here; what runs on the way out is not stopped again."""
        self._stopping = True
        raise Stopped


def run_child(
    kind: type[Spec], work: Callable[[Worker, Spec], None], load: Callable[[], None] = lambda: None
) -> NoReturn:
    """Be a child: `python -m MODULE EVENTS_FD [--load-ahead]`. Failures are reported, never swallowed.

    Args:
        kind: of its specification.
        work: what it does with one.
        load: imports what the work will need; called before there is a specification, where that was asked for.
    """
    os.nice(_NICENESS)  # the API on the same machine stays quick
    worker = Worker(int(sys.argv[1]))
    try:
        if LOAD_AHEAD in sys.argv[2:]:
            load()
        work(worker, worker.read_spec(kind))
    except Stopped:
        worker.send(StoppedMessage())
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        worker.send(ErrorMessage(code="worker_failed", message=message, retryable=True, is_final=False))
    # All is said: torch would take seconds to unload.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_with_worker() -> None:
    """End at once when standard input ends: nobody would record what this process still did."""
    while os.read(0, 4096):
        pass
    os._exit(1)
