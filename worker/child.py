"""A child process: started, listened to, stopped, and never left behind."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from worker.protocol import LOAD_AHEAD, Message, decode, encode

ROOT = Path(__file__).resolve().parent.parent
_TAIL_LINES = 40
_TAIL_LINE_CHARS = 400


class ChildProcess:
    """Runs `python -m MODULE` in a process group of its own; it waits for its specification (`begin`).

    Memory stays bounded whatever the child prints: only the last lines of its output are kept.

    Args:
        module: that calls `worker.childside.run_child`.
        environment: of the process.
        loads_ahead: load the libraries first, for a job that is still to come.
    """

    def __init__(self, module: str, environment: Mapping[str, str], *, loads_ahead: bool = False) -> None:
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(writing), *([LOAD_AHEAD] if loads_ahead else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                process_group=0,
                cwd=ROOT,
                env=dict(environment),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._messages: queue.Queue[Message | None] = queue.Queue(maxsize=1000)
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._kill_at: float | None = None
        self._threads = [
            threading.Thread(target=self._read_messages, args=(os.fdopen(reading, "rb"),), daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def begin(self, spec: BaseModel) -> None:
        """Give the child its work, once."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(encode(spec))
            stdin.flush()
        except BrokenPipeError:
            return  # it has ended; `wait` says how

    def next_message(self, timeout_seconds: float) -> Message | None:
        """The next message, or None when none came in time.

        Raises:
            EOFError: when the child has ended and everything it said was read.
        """
        self._kill_when_overdue()
        try:
            message = self._messages.get(timeout=max(timeout_seconds, 0.0))
        except queue.Empty:
            return None
        if message is None:
            raise EOFError
        return message

    def stop(self, grace_seconds: float) -> None:
        """Ask the child to stop; `next_message` kills it when the grace time is over."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace_seconds
            self._signal(signal.SIGTERM)

    def expect_end(self, grace_seconds: float) -> None:
        """The child has said its last word: kill it when it does not end by itself."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace_seconds

    def kill(self) -> None:
        """Kill the child and what it started."""
        self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """The exit status, negative for a signal. Call after `EOFError`."""
        grace = 5.0 if self._kill_at is None else max(self._kill_at - time.monotonic(), 0.1)
        try:
            status = self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self._process.wait()
        self.kill()  # what it may have started itself
        for thread in self._threads:
            thread.join(timeout=5)
        return status

    def close(self) -> None:
        """Make sure that nothing of the child is left."""
        self.kill()
        # The reader may wait for room in the queue.
        while any(thread.is_alive() for thread in self._threads) and not self._drain():
            time.sleep(0.01)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def output_tail(self) -> str:
        """The last lines that the child printed."""
        return "\n".join(self._tail)

    def _drain(self) -> bool:
        try:
            return self._messages.get(timeout=0.05) is None
        except queue.Empty:
            return False

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _kill_when_overdue(self) -> None:
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self.kill()

    def _read_messages(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                try:
                    self._messages.put(decode(line))
                except ValueError:
                    self._tail.append(f"not a message: {line[:_TAIL_LINE_CHARS]!r}")
        self._messages.put(None)

    def _read_output(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while line := stream.readline(_TAIL_LINE_CHARS):
            self._tail.append(line.decode("utf-8", "replace").rstrip())
