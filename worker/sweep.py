"""The dispatcher's broom: removes the objects of what was deleted, and what has had its time.

Any number of dispatchers may sweep at once, and a sweep may end at any point: what it did not do, the next one does.
"""

import logging
import threading

from core import retention
from core.errors import StorageUnavailable
from core.queries.idempotency import prune_keys
from core.webhooks.deliveries import prune_log
from worker.runtime import DATABASE_TROUBLE, Runtime

log = logging.getLogger(__name__)


def sweep(runtime: Runtime, stop: threading.Event | None = None) -> int:
    """One round.

    Args:
        runtime: of the dispatcher.
        stop: ends it early.

    Returns:
        How much was done; nothing is left when it is 0.
    """
    settings, database = runtime.settings, runtime.database
    with database.write() as session:
        uploads = retention.expire_uploads(session, settings.upload_idle_days)
        direct = retention.expire_part_uploads(session)
    with database.write() as session:
        checkpoints = retention.expire_checkpoints(session, settings.checkpoint_days)
    with database.write() as session:
        entries = retention.prune_audit(session, settings.audit_days)
        entries += prune_keys(session, settings.idempotency_hours)
        entries += prune_log(session, settings.webhook_log_days)
    for dataset_id in uploads:
        log.info(
            "the upload of dataset %s was left for %g days and is removed",
            dataset_id,
            settings.upload_idle_days,
        )
    removed = remove_objects(runtime, stop)
    with database.write() as session:
        rows = retention.remove_rows(session, settings.quota_period_days)
    return len(uploads) + direct + len(checkpoints) + entries + removed + rows


def remove_objects(runtime: Runtime, stop: threading.Event | None = None) -> int:
    """Remove objects first and then the note that asks for it; returns the number of prefixes done."""
    with runtime.database.read() as session:
        notes = retention.next_deletions(session)
    for done, (prefix, asked_at) in enumerate(notes):
        if stop is not None and stop.is_set():
            return done
        try:
            runtime.storage.delete_prefix(prefix)
        except StorageUnavailable as error:
            log.warning("objects below %s are left for the next sweep: %s", prefix, error)
            return done
        with runtime.database.write() as session:
            retention.note_removed(session, prefix, asked_at)
    return len(notes)


def run(runtime: Runtime, stop: threading.Event) -> None:
    """Sweep until told to stop; without a pause while there is something to do."""
    pause = 0.0
    while not stop.wait(pause):
        pause = runtime.settings.sweep_interval_seconds
        try:
            if sweep(runtime, stop):
                pause = runtime.settings.dispatcher_interval_seconds
        except DATABASE_TROUBLE as error:
            log.warning("the database does not answer: %s", type(error).__name__)
