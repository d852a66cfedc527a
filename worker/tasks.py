"""The tasks: a message carries an id, the row says what there is to do."""

from celery import Celery

from core.broker import INGEST_DATASET, RUN_JOB
from worker.datasets import ingest_dataset
from worker.jobs import run_job
from worker.runtime import Runtime


def register(celery: Celery, runtime: Runtime) -> None:
    """Define the tasks on an application."""

    @celery.task(name=RUN_JOB)
    def run_job_task(job_id: str) -> None:
        run_job(runtime, job_id)

    @celery.task(name=INGEST_DATASET)
    def ingest_dataset_task(dataset_id: str) -> None:
        ingest_dataset(runtime, dataset_id)
