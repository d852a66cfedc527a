"""The tasks: a message carries an id and wakes a worker, the rows say what there is to do."""

import logging

from celery import Celery

from core.broker import INGEST_DATASET, RUN_JOB
from worker.datasets import ingest_dataset
from worker.jobs import run_next_job
from worker.runtime import Runtime

log = logging.getLogger(__name__)


def register(celery: Celery, runtime: Runtime) -> None:
    """Define the tasks on an application."""

    @celery.task(name=RUN_JOB)
    def run_job_task(job_id: str) -> None:
        log.debug("woken by job %s", job_id)
        run_next_job(runtime)

    @celery.task(name=INGEST_DATASET)
    def ingest_dataset_task(dataset_id: str) -> None:
        ingest_dataset(runtime, dataset_id)
