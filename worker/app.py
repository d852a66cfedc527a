"""The Celery application of the workers: `celery -A worker.app worker --pool threads --queues jobs,datasets`.

One process runs as many children at once as it has threads. It never imports torch: a trainer that dies, or that
takes all memory, ends alone, and its memory goes back to the system.
"""

import warnings
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps
from celery.platforms import SecurityWarning  # type: ignore[attr-defined]
from celery.signals import (
    celeryd_after_setup,
    setup_logging,
    worker_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from core.broker import JOBS_QUEUE, make_celery, queues_of_worker
from core.liveness import BEAT_SECONDS, beat
from core.logs import configure_logging
from core.production import refuse_unless_ready
from core.settings import Settings, get_settings
from core.tracing import start_tracing
from worker.runtime import Runtime
from worker.tasks import register


def create_worker(settings: Settings) -> Celery:
    """The application with its tasks, which drains when the process is told to stop."""
    celery = make_celery(settings)
    # Nothing broadcasts to workers: a cancel is a flag in the row.
    celery.conf.update(worker_enable_remote_control=False, worker_send_task_events=False)
    # Celery's warning against root is about pickled messages; only JSON is accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    runtime = Runtime.open(settings, celery)
    register(celery, runtime)

    celery.steps["worker"].add(_liveness(settings.liveness_path))

    @worker_init.connect(weak=False)
    def begin(**_: Any) -> None:
        configure_logging(settings)
        refuse_unless_ready(settings)
        stop_tracing = start_tracing(settings, "worker")
        worker_shutdown.connect(lambda **_: stop_tracing(), weak=False)

    @celeryd_after_setup.connect(weak=False)
    def listen(instance: Any, **_: Any) -> None:
        queues = instance.app.amqp.queues
        if JOBS_QUEUE in queues.consume_from:
            for name in queues_of_worker(settings.device_bytes):
                queues.select_add(name)

    @worker_ready.connect(weak=False)
    def load_ahead(sender: Any, **_: Any) -> None:
        if JOBS_QUEUE in sender.app.amqp.queues.consume_from:
            runtime.spares.refill()

    @worker_shutting_down.connect(weak=False)
    def drain(**_: Any) -> None:
        runtime.draining.set()

    @worker_shutdown.connect(weak=False)
    def end(**_: Any) -> None:
        runtime.spares.close()

    @setup_logging.connect(weak=False)
    def log_as_the_service_does(**_: Any) -> None:
        configure_logging(settings)

    return celery


def _liveness(file: Path | None) -> type[bootsteps.StartStopStep]:
    """A step of the worker that beats while the worker's timer runs."""

    class Liveness(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Timer",)

        def __init__(self, parent: Any, **_: Any) -> None:
            self.repetition: Any = None

        def start(self, parent: Any) -> None:
            beat(file)
            self.repetition = parent.timer.call_repeatedly(BEAT_SECONDS, beat, (file,))

        def stop(self, parent: Any) -> None:
            if self.repetition is not None:
                self.repetition.cancel()

    return Liveness


app = create_worker(get_settings())
