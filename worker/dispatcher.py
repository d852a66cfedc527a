"""Tells workers what waits, takes work from the silent, sweeps, sends webhooks: `python -m worker.dispatcher`.

The rows are the truth; a message only wakes a worker. So losing the queue loses no job, and any number of
dispatchers may run.
"""

import logging
import signal
import threading
import time
from dataclasses import dataclass, field

from core.broker import send_ingest, send_run_job
from core.leases import due_datasets, due_jobs, mark_sent, reap_expired, reap_expired_datasets
from core.liveness import beat
from core.logs import configure_logging
from core.production import refuse_unless_ready
from core.settings import get_settings
from worker import sweep
from worker.runtime import DATABASE_TROUBLE, Runtime
from worker.webhooks import deliver_until_stopped

log = logging.getLogger(__name__)


def announce(runtime: Runtime) -> int:
    """Send a message for every row that waits and that was not announced lately.

    Returns:
        The number of messages.
    """
    seconds = runtime.settings.resend_after_seconds
    with runtime.database.write() as session:
        datasets = due_datasets(session, seconds)
        jobs = due_jobs(session, seconds, runtime.settings.quota_running_jobs)
        if datasets:
            mark_sent(session, "dataset", datasets)
        if jobs:
            mark_sent(session, "job", [job.id for job in jobs])
    # After the commit, so that a worker that is quick finds the row.
    for dataset_id in datasets:
        send_ingest(runtime.celery, dataset_id)
    for job in jobs:
        send_run_job(runtime.celery, job.id, job.device_bytes)
    return len(datasets) + len(jobs)


@dataclass
class Reaper:
    """Takes rows from workers that fell silent, but not when it was the database that was silent.

    Leases run out by the database's clock, which goes on while the database hangs, restarts, or fails over. All workers
    would lose their rows then, and be charged, for not having renewed what nobody could renew. So a reaper that was
    held up itself takes nothing, and lets one lease go by in which those that live can renew.
    """

    runtime: Runtime
    _last: float = field(default_factory=time.monotonic)
    _not_before: float = 0.0

    def reap(self) -> list[str]:
        """Take rows whose lease ran out; returns their ids."""
        settings = self.runtime.settings
        began = time.monotonic()
        with self.runtime.database.write() as session:
            taken = [
                *reap_expired(session, settings.max_attempts),
                *reap_expired_datasets(session, settings.max_attempts),
            ]
            now = time.monotonic()
            rounds_apart = settings.dispatcher_interval_seconds + settings.lease_seconds / 2
            if now - self._last > rounds_apart:
                self._not_before = now + settings.lease_seconds
            self._last = now
            if began < self._not_before:
                session.rollback()
                return []
        for row_id in taken:
            log.warning("%s was taken from a worker that fell silent", row_id)
        return taken


def run(runtime: Runtime, stop: threading.Event) -> None:
    """Go round until told to stop; a database that is away is waited for."""
    reaper = Reaper(runtime)
    while not stop.wait(runtime.settings.dispatcher_interval_seconds):
        try:
            reaper.reap()
            announce(runtime)
            beat(runtime.settings.liveness_path)
        except DATABASE_TROUBLE as error:
            log.warning("the database does not answer: %s", type(error).__name__)


def sweep_until_stopped(runtime: Runtime, stop: threading.Event) -> None:
    """Sweep; a fault of ours ends the whole process, which is started anew, and not this thread alone in silence."""
    try:
        sweep.run(runtime, stop)
    finally:
        stop.set()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings)
    refuse_unless_ready(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runtime = Runtime.open(settings)
    log.info("dispatching")
    # Beside the loop, so that neither a large dataset that is removed nor a slow endpoint keeps a job waiting.
    beside = [
        threading.Thread(target=sweep_until_stopped, args=(runtime, stop)),
        threading.Thread(target=deliver_until_stopped, args=(runtime, stop)),
    ]
    for thread in beside:
        thread.start()
    try:
        run(runtime, stop)
    finally:
        stop.set()
        for thread in beside:
            thread.join()
        runtime.close()


if __name__ == "__main__":
    main()
