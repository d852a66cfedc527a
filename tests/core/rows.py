"""Rows for tests."""

from sqlalchemy import func, select, update

from core import clock
from core.ids import new_id
from core.models import Dataset, Job
from core.principals import LOCAL_OWNER
from core.states import DatasetState, JobState


def add_dataset(database, state=DatasetState.READY, owner=LOCAL_OWNER):
    with database.write() as session:
        dataset = Dataset(id=new_id("ds"), owner=owner, name="photos", state=state)
        session.add(dataset)
    return dataset.id


def add_job(
    database, dataset_id=None, state=JobState.QUEUED, probe_dataset_id=None, owner=LOCAL_OWNER, **columns
):
    dataset_id = dataset_id or add_dataset(database, owner=owner)
    with database.write() as session:
        job = Job(
            id=new_id("job"),
            owner=owner,
            state=state,
            teacher={"name": "sample"},
            dataset_id=dataset_id,
            probe_dataset_id=probe_dataset_id,
            **{"options": {"r": 2, "k": 4}, **columns},
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
