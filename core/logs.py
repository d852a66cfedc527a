"""How processes of the service log, to standard error: lines to read when embedded, JSON a line in production.

Whoever works on a request, a job or a dataset says so once, by `log_context(job_id=…, attempt=…)`; every record from
inside, also of a library, carries it. A context belongs to its thread or task.
"""

import logging
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from structlog.contextvars import bound_contextvars as log_context
from structlog.stdlib import ProcessorFormatter

from core.settings import Settings

__all__ = ["REQUESTS", "configure_logging", "log_context", "make_formatter"]

REQUESTS: Final = "requests"
"""Logger of a line for every request: quiet when embedded, where the terminal is the user's."""

_FIRST: Final = ("timestamp", "level", "logger", "event")
Event = MutableMapping[str, Any]


def configure_logging(settings: Settings) -> None:
    """Set level and format; a process that has set its own, as a test runner does, keeps them."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(make_formatter(is_json=settings.logs_json))
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    logging.captureWarnings(settings.logs_json)
    logging.getLogger(REQUESTS).setLevel(logging.INFO if settings.logs_json else logging.WARNING)
    # Every request that is made, and every message that wakes a worker: what comes of them has lines of its own.
    for name in ("httpx2", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.access"):
        # The server brings handlers of its own; its line for a request lacks the id, ours stands for it.
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = name != "uvicorn.access"


def make_formatter(*, is_json: bool) -> logging.Formatter:
    """The format of every record, of this code's as of a library's."""
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            *([_in_order, structlog.processors.JSONRenderer(default=str)] if is_json else [_as_line]),
        ],
    )


def _in_order(_logger: object, _method: str, event: Event) -> Event:
    """Time, level and message first: a person reads these lines, too."""
    ordered = {name: event.pop(name) for name in _FIRST if name in event}
    ordered["message"] = ordered.pop("event", "")
    return {**ordered, **dict(sorted(event.items()))}


def _as_line(_logger: object, _method: str, event: Event) -> str:
    timestamp, level, logger, message = (event.pop(name, "") for name in _FIRST)
    exception = event.pop("exception", None)
    context = " ".join(f"{name}={value}" for name, value in sorted(event.items()))
    line = f"{timestamp[:23].replace('T', ' ')} {level.upper()} {logger}: {message}"
    return line + (f" [{context}]" if context else "") + (f"\n{exception}" if exception else "")
