"""Every request has an id, a line in the log and a place in the metrics.

The id is the client's `X-Request-ID` where it sent a sane one, else a new one; the answer carries it, and so does
every line that is logged while the request is worked on.
"""

import logging
import re
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from api.metrics.requests import RequestMetrics
from core.logs import REQUESTS, log_context

HEADER: Final = "X-Request-ID"
SCOPE_KEY: Final = "wecolora.request_id"
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger(REQUESTS)


class RequestLog:
    """The outermost layer: it sees what every other one answers."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note what became of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope[SCOPE_KEY] = request_id = choose_id(Headers(scope=scope).get(HEADER))
        started = time.perf_counter()
        status = 500  # what the server answers when nothing else was

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with log_context(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception as error:
                # The server logs its traceback, and knows of no id.
                log.error("%s %s failed: %s", scope["method"], scope["path"], type(error).__name__)
                raise
            finally:
                seconds = time.perf_counter() - started
                self.metrics.observe(scope["method"], route_of(scope), status, seconds)
                done = {"status": status, "ms": round(1000 * seconds, 1)}
                log.info("%s %s", scope["method"], scope["path"], extra=done)


def choose_id(sent: str | None) -> str:
    """The client's id when it is short and plain, so that it can be searched for; else a new one."""
    return sent if sent and _SANE.fullmatch(sent) else str(ULID())


def route_of(scope: Scope) -> str:
    """The path with the names of its parameters, the same for every id; empty for a path that is none of ours."""
    return getattr(scope.get("route"), "path", "")
