"""Job events as server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from api.jobs.schemas import EventOut
from api.resources import Resources
from core.errors import NotFound
from core.principals import Principal
from core.queries.events import list_events
from core.queries.jobs import get_job
from core.queries.keys import is_live
from core.states import TERMINAL

BATCH = 200
RECONNECT_MS = 1000


async def stream_events(
    resources: Resources, viewer: Principal, job_id: str, after: int
) -> AsyncIterator[bytes]:
    """Every event after `after`, then new ones as they come, until the job has ended or the key is good no more.

    Nothing is held between two looks: neither a transaction nor a connection nor a thread.
    """
    settings = resources.settings
    last, idle_seconds = after, 0.0
    check_at = time.monotonic() + settings.event_keepalive_seconds
    yield format_sse_event(retry=RECONNECT_MS)
    while True:
        try:
            events, is_over = await run_in_threadpool(read_batch, resources, viewer, job_id, last)
        except NotFound:  # deleted meanwhile
            return
        for event in events:
            last = event.seq
            yield format_sse_event(
                data_str=event.model_dump_json(), event=event.type.value, id=str(event.seq)
            )
        if is_over:
            return
        if events:
            idle_seconds = 0.0
        if time.monotonic() >= check_at:
            if not await run_in_threadpool(_may_go_on, resources, viewer):
                return
            check_at = time.monotonic() + settings.event_keepalive_seconds
        if len(events) == BATCH:
            continue
        await asyncio.sleep(settings.event_poll_seconds)
        idle_seconds += settings.event_poll_seconds
        if idle_seconds >= settings.event_keepalive_seconds:
            idle_seconds = 0.0
            yield KEEPALIVE_COMMENT


def _may_go_on(resources: Resources, viewer: Principal) -> bool:
    """Whether the key that the stream was opened with is still good."""
    if viewer.key_id is None:
        return True
    with resources.database.read() as session:
        return is_live(session, viewer.key_id)


def read_batch(
    resources: Resources, viewer: Principal, job_id: str, after: int
) -> tuple[list[EventOut], bool]:
    """The next events, and whether none will follow.

    The state is read before the events: the last event is committed with the terminal state, so a job seen as
    finished has all its events in sight.
    """
    with resources.database.read() as session:
        is_terminal = get_job(session, job_id, viewer).state in TERMINAL
        events = [EventOut.of(event) for event in list_events(session, job_id, after, BATCH)]
    return events, is_terminal and len(events) < BATCH
