"""The queue that wakes workers. It carries ids and promises nothing: the database is the truth.

A message that is lost, late or doubled does no harm: the dispatcher sends again while a row waits, and one
claim wins. So sending is best effort everywhere.
"""

import logging
from pathlib import Path
from typing import Any, Final

from celery import Celery
from kombu.exceptions import KombuError, OperationalError

from core import embedded_queue
from core.settings import GIBIBYTE, Settings

RUN_JOB: Final = "wecolora.run_job"
INGEST_DATASET: Final = "wecolora.ingest_dataset"
JOBS_QUEUE: Final = "jobs"
JOB_QUEUES: Final = {JOBS_QUEUE: 0} | {f"{JOBS_QUEUE}-{gib}g": gib * GIBIBYTE for gib in (8, 16, 24, 40, 80)}
"""The queues of jobs, and how much memory on a device those in it need at least: who hears of them should have it."""
DATASETS_QUEUE: Final = "datasets"
EMBEDDED_POLL_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 3

log = logging.getLogger(__name__)


def make_celery(settings: Settings) -> Celery:
    """The Celery application, the same for those who send and those who work."""
    app = Celery("wecolora", set_as_current=False)
    app.conf.update(celery_config(settings))
    return app


def celery_config(settings: Settings) -> dict[str, Any]:
    """Acknowledge at once, one message at a time, JSON only, no result store."""
    url, transport_options = _broker(settings)
    return {
        "broker_url": url,
        "broker_transport_options": transport_options,
        "broker_connection_timeout": CONNECT_SECONDS,
        "broker_connection_retry_on_startup": True,
        "task_default_queue": JOBS_QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": False,
        "enable_utc": True,
    }


def queues_of_worker(device_bytes: int | None) -> list[str]:
    """The queues of jobs that a worker listens to.

    Args:
        device_bytes: memory of its device; None: enough for any job.
    """
    return [name for name, least in JOB_QUEUES.items() if device_bytes is None or least < device_bytes]


def queue_of_job(device_bytes: int | None) -> str:
    """The queue of a job.

    Args:
        device_bytes: memory that it needs on a device; None: unknown.
    """
    return [name for name, least in JOB_QUEUES.items() if least <= (device_bytes or 0)][-1]


def send_run_job(app: Celery, job_id: str, device_bytes: int | None) -> bool:
    """Tell the workers that have room for it about a job; False when the broker could not be reached."""
    return _send(app, RUN_JOB, job_id, queue_of_job(device_bytes))


def send_ingest(app: Celery, dataset_id: str) -> bool:
    """Tell the workers about a dataset; False when the broker could not be reached."""
    return _send(app, INGEST_DATASET, dataset_id, DATASETS_QUEUE)


def check(app: Celery) -> None:
    """Raise when the broker cannot be reached."""
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
        connection.default_channel  # noqa: B018 - opening it is the check for a transport without a server


def _send(app: Celery, task: str, row_id: str, queue: str) -> bool:
    try:
        app.send_task(task, args=[row_id], queue=queue, retry=False)
    except (KombuError, OperationalError, OSError) as error:
        log.warning("could not send %s for %s, the dispatcher will: %s", task, row_id, error)
        return False
    return True


def _broker(settings: Settings) -> tuple[str, dict[str, Any]]:
    if settings.broker_url is None:
        return _embedded(settings.data_dir.resolve() / "queue")
    options: dict[str, Any] = {}
    if settings.broker_url.startswith(("redis", "valkey")):
        options = {
            "visibility_timeout": settings.broker_visibility_timeout_seconds,
            "socket_connect_timeout": CONNECT_SECONDS,
            # Longer than a worker's wait for a message; a server that hangs must not hang those who send.
            "socket_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
        }
    return settings.broker_url, options


def _embedded(folder: Path) -> tuple[str, dict[str, Any]]:
    """A queue of files: no server, shared by processes, and a lost message is sent again like any other."""
    folder.mkdir(parents=True, exist_ok=True)
    embedded_queue.register()
    return f"{embedded_queue.SCHEME}://localhost", {
        embedded_queue.FOLDER_OPTION: str(folder),
        "polling_interval": EMBEDDED_POLL_SECONDS,
    }
