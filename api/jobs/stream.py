"""Job events as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from api.jobs.watch import BATCH, SentEvent, read_events
from api.resources import Resources
from core.principals import Principal
from core.queries.jobs import get_job
from core.states import TERMINAL

RECONNECT_MS = 1000


async def stream_events(
    resources: Resources,
    viewer: Principal,
    job_id: str,
    after: int,
    first: Sequence[SentEvent],
    is_over: bool,
) -> AsyncIterator[bytes]:
    """Every event after `after`, then new ones as they come, until the job has ended or the key is good no more.

    Args:
        resources: of the process.
        viewer: who reads, and may see the job.
        job_id: of the job.
        after: `seq` of the last event that the reader has.
        first: the next events, as `read_batch` gave them.
        is_over: likewise.
    """
    keepalive = resources.settings.event_keepalive_seconds
    yield format_sse_event(retry=RECONNECT_MS)
    for event in first:
        after = event.seq
        yield event.frame
    if is_over:
        return
    with resources.watch.follow(job_id, viewer.key_id) as job:
        while not job.is_gone and resources.watch.is_good(viewer.key_id):
            changed = job.changed
            events = job.after(after)
            if events is None:
                events = await run_in_threadpool(_read_more, resources, job_id, after)
            for event in events:
                after = event.seq
                yield event.frame
            if events:
                continue
            if job.is_over and job.count is not None and after >= job.count:
                return
            try:
                async with asyncio.timeout(keepalive):
                    await changed.wait()
            except TimeoutError:
                yield KEEPALIVE_COMMENT


def _read_more(resources: Resources, job_id: str, after: int) -> list[SentEvent]:
    with resources.database.read() as session:
        return read_events(session, job_id, after)


def read_batch(
    resources: Resources, viewer: Principal, job_id: str, after: int
) -> tuple[list[SentEvent], bool]:
    """The next events, and whether none will follow.

    The state is read before the events: the last event is committed with the terminal state, so a job seen as
    finished has all its events in sight.

    Raises:
        NotFound: when there is no such job in sight.
    """
    with resources.database.read() as session:
        is_terminal = get_job(session, job_id, viewer).state in TERMINAL
        events = read_events(session, job_id, after)
    return events, is_terminal and len(events) < BATCH
