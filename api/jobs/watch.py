"""One look at the database for all who follow jobs: what a stream costs does not depend on how many there are."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.jobs.schemas import EventOut
from core.database import Database
from core.queries.events import list_events
from core.queries.jobs import list_event_counts
from core.queries.keys import live_keys
from core.states import TERMINAL

BATCH = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SentEvent:
    """An event as it goes over the wire, made once for all readers."""

    seq: int
    frame: bytes


@dataclass
class Followed:
    """What is known of a job that someone follows.

    Attributes:
        count: `seq` of its last event; None before the first look.
        is_over: no event will come after that one.
        is_gone: the job was deleted, or the database does not answer: there is nothing to wait for.
        newest: events that came with the last look that found any, without gaps.
        changed: set when any of these has changed; then another one takes its place.
        readers: how many follow.
    """

    count: int | None = None
    is_over: bool = False
    is_gone: bool = False
    newest: Sequence[SentEvent] = ()
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0

    def after(self, seq: int) -> Sequence[SentEvent] | None:
        """The events that follow `seq`, as far as they are at hand; None: they have to be read."""
        if self.count is None or seq >= self.count:
            return ()
        if self.newest and self.newest[0].seq <= seq + 1 <= self.newest[-1].seq:
            return [event for event in self.newest if event.seq > seq]
        return None

    def wake(self) -> None:
        """Tell all who wait."""
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass(frozen=True)
class _Found:
    count: int
    is_over: bool
    events: Sequence[SentEvent]


class JobWatch:
    """Follows jobs for the streams of one process; belongs to its event loop.

    Nothing is held between two looks: neither a transaction nor a connection nor a thread.
    """

    def __init__(self, database: Database, pause_seconds: float) -> None:
        self._database = database
        self._pause_seconds = pause_seconds
        self._jobs: dict[str, Followed] = {}
        self._keys: Counter[str] = Counter()
        self._bad_keys: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def follow(self, job_id: str, key_id: str | None) -> Iterator[Followed]:
        """News of a job as long as the block lasts.

        Args:
            job_id: of the job; who follows has been asked whether they may see it.
            key_id: with which they came; None: without one.
        """
        job = self._jobs.setdefault(job_id, Followed())
        job.readers += 1
        if key_id is not None:
            self._keys[key_id] += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            yield job
        finally:
            job.readers -= 1
            if not job.readers and self._jobs.get(job_id) is job:
                del self._jobs[job_id]
            if key_id is not None:
                self._keys[key_id] -= 1
                if not self._keys[key_id]:
                    del self._keys[key_id]
                    self._bad_keys.discard(key_id)

    def is_good(self, key_id: str | None) -> bool:
        """Whether the key of a follower may still be used; None, for no key, always."""
        return key_id not in self._bad_keys

    async def _look(self) -> None:
        try:
            while self._jobs:
                await self._look_once()
                await asyncio.sleep(self._pause_seconds)
        finally:
            # A fault of ours: whoever follows would wait for ever.
            for job_id in [*self._jobs]:
                self._tell(job_id, None)

    async def _look_once(self) -> None:
        counts = {job_id: job.count for job_id, job in self._jobs.items()}
        keys = set(self._keys)
        try:
            found, good_keys = await run_in_threadpool(self._read, counts, keys)
        except SQLAlchemyError:
            log.exception("event streams end: the database cannot be read")
            found, good_keys = {}, keys
        self._bad_keys |= (keys - good_keys) & self._keys.keys()
        for job_id in counts:
            self._tell(job_id, found.get(job_id))

    def _tell(self, job_id: str, found: _Found | None) -> None:
        job = self._jobs.get(job_id)
        if job is None:  # its last reader has left
            return
        if found is None:
            del self._jobs[job_id]
            job.is_gone = True
        elif (job.count, job.is_over) != (found.count, found.is_over):
            job.count, job.is_over = found.count, found.is_over
            job.newest = found.events or job.newest
        elif not self._bad_keys:
            return
        job.wake()

    def _read(self, counts: Mapping[str, int | None], keys: Set[str]) -> tuple[dict[str, _Found], set[str]]:
        found: dict[str, _Found] = {}
        with self._database.read() as session:
            # A count and a state are of one moment, and the event of the last state is counted with it.
            for row in list_event_counts(session, counts):
                known = counts[row.id]
                is_new = known is not None and row.event_count > known
                events = read_events(session, row.id, known or 0) if is_new else ()
                found[row.id] = _Found(row.event_count, row.state in TERMINAL, events)
            return found, live_keys(session, keys)


def read_events(session: Session, job_id: str, after: int) -> list[SentEvent]:
    """The next events of a job, ready to be sent; at most `BATCH`."""
    rows = [EventOut.of(row) for row in list_events(session, job_id, after, BATCH)]
    return [
        SentEvent(
            row.seq, format_sse_event(data_str=row.model_dump_json(), event=row.type.value, id=str(row.seq))
        )
        for row in rows
    ]
