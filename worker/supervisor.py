"""Run one claimed piece of work in a child: heartbeats, messages, stopping, and exactly one end.

The parent alone writes to the database, each write fenced by the claim's attempt; the child computes and stores
objects under keys of its attempt. Whatever happens to the child, the row ends in a state that another attempt or
the user can act on.
"""

import logging
import signal
import time
from enum import Enum
from typing import Protocol

from pydantic import BaseModel

from core.errors import LeaseLost
from core.leases import Claim, JobError, renew
from worker.child import ChildProcess
from worker.protocol import EndMessage, ErrorMessage, Message, ResultMessage, StoppedMessage
from worker.runtime import DATABASE_TROUBLE, Runtime

_POLL_SECONDS = 0.25
_END_SECONDS = 5.0
_TAIL_CHARS = 1500

log = logging.getLogger(__name__)


class Work(Protocol):
    """What is particular to a kind of work."""

    module: str
    spec: BaseModel

    def report(self, message: Message) -> None:
        """Store a message from the middle of the work."""
        ...

    def succeed(self, message: ResultMessage) -> None:
        """Store the result and end the row."""
        ...

    def fail(self, error: JobError) -> None:
        """End the row for good."""
        ...

    def cancel(self) -> None:
        """End the row because its owner asked for it."""
        ...

    def release(self, reason: str, charge_attempt: bool) -> None:
        """Give the row back for another attempt."""
        ...

    def abandon(self) -> None:
        """Clean up after a lost lease, without a write to the row."""
        ...


class _Stop(Enum):
    """Why the child was told to stop."""

    CANCELLED = "cancelled"
    DRAINING = "draining"


def supervise(runtime: Runtime, claim: Claim, work: Work) -> None:
    """Run the work to one end. A lost lease ends the child and writes nothing."""
    child = runtime.spares.take(work.module)
    log.info("%s %s, attempt %d: started as process %d", claim.kind, claim.id, claim.attempt, child.pid)
    try:
        try:
            child.begin(work.spec)
            stop, end = _follow(runtime, claim, child, work)
            status = child.wait()
        finally:
            child.close()
        log.info("%s %s, attempt %d: ended with %d", claim.kind, claim.id, claim.attempt, status)
        _conclude(work, stop, end, status, child.output_tail())
    except LeaseLost as lost:
        log.warning("%s", lost)
        work.abandon()


def _follow(
    runtime: Runtime, claim: Claim, child: ChildProcess, work: Work
) -> tuple[_Stop | None, EndMessage | None]:
    """Listen until the child has ended."""
    settings = runtime.settings
    stop: _Stop | None = None
    end: EndMessage | None = None
    next_beat = time.monotonic() + settings.heartbeat_seconds
    while True:
        now = time.monotonic()
        if now >= next_beat:
            next_beat = now + settings.heartbeat_seconds
            if _beat(runtime, claim) and stop is None:
                stop = _Stop.CANCELLED
                child.stop(settings.cancel_grace_seconds)
        if runtime.draining.is_set() and stop is None:
            stop = _Stop.DRAINING
            child.stop(settings.cancel_grace_seconds)
        try:
            message = child.next_message(min(_POLL_SECONDS, next_beat - now))
        except EOFError:
            return stop, end
        match message:
            case None:
                continue
            case ResultMessage() | ErrorMessage() | StoppedMessage():
                end = end or message
                child.expect_end(_END_SECONDS)
            case _:
                work.report(message)


def _beat(runtime: Runtime, claim: Claim) -> bool:
    """Renew the lease; True when the owner asked to cancel.

    A database that is away does not stop the work: a lease that ran out but that nobody took may be renewed, and
    if it was taken the next renewal says so.
    """
    try:
        with runtime.database.write() as session:
            return renew(session, claim, runtime.settings.lease_seconds)
    except DATABASE_TROUBLE as error:
        log.warning("could not renew the lease of %s: %s", claim.id, type(error).__name__)
        return False


def _conclude(work: Work, stop: _Stop | None, end: EndMessage | None, status: int, tail: str) -> None:
    """Write the one end."""
    match end:
        case ResultMessage():
            work.succeed(end)
        case ErrorMessage(is_final=True) if stop is None:
            work.fail(JobError(end.code, end.message, end.param, end.retryable))
        case _ if stop is _Stop.CANCELLED:
            work.cancel()
        case _ if stop is _Stop.DRAINING:
            work.release("the worker was told to stop", charge_attempt=False)
        case ErrorMessage():
            work.release(_with_tail(end.message, tail), charge_attempt=True)
        case _:
            work.release(_with_tail(_describe_death(status), tail), charge_attempt=True)


def _describe_death(status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            "trainer_killed: the process was killed (SIGKILL), which is what the system does when memory runs out; "
            "a smaller batch_size or image_size needs less"
        )
    if status < 0:
        return f"trainer_killed: the process was ended by {signal.Signals(-status).name}"
    return f"trainer_killed: the process ended with status {status} and no result"


def _with_tail(reason: str, tail: str) -> str:
    return f"{reason}\nIts last output:\n{tail[-_TAIL_CHARS:]}" if tail else reason
