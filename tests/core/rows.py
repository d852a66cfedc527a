"""Rows for tests."""

from sqlalchemy import func, select, update

from core import clock
from core.ids import new_id
from core.models import Dataset, Job
from core.states import DatasetState, JobState


def add_dataset(database, state=DatasetState.READY):
    with database.write() as session:
        dataset = Dataset(id=new_id("ds"), name="photos", state=state)
        session.add(dataset)
    return dataset.id


def add_job(database, dataset_id=None, state=JobState.QUEUED, probe_dataset_id=None, **columns):
    dataset_id = dataset_id or add_dataset(database)
    with database.write() as session:
        job = Job(
            id=new_id("job"),
            state=state,
            teacher={"name": "sample"},
            options={"r": 2, "k": 4},
            dataset_id=dataset_id,
            probe_dataset_id=probe_dataset_id,
            **columns,
        )
        session.add(job)
    return job.id


def get(database, model, row_id):
    with database.read() as session:
        return session.get(model, row_id)


def count(database, model):
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(model))


def expire_lease(database, model, row_id):
    with database.write() as session:
        session.execute(update(model).where(model.id == row_id).values(lease_expires_at=clock.now_plus(-1)))
