"""What an owner deletes: the row is out of sight at once, the objects go later.

The transaction that hides a row also writes down the prefix of its objects (`Deletion`). The dispatcher removes the
objects and then that note (`worker.sweep`), so that a crash at any point leaves the note, and removing twice does no
harm. Only what no job needs any more can be deleted: a new job, or a retry, holds the rows that it names until it is
stored itself.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import clock
from core.errors import InUse, NotFound, WrongState
from core.models import Artifact, Dataset, DatasetPart, Deletion, Job, JobEvent
from core.principals import Principal
from core.queries.datasets import lock_dataset
from core.queries.jobs import lock_job
from core.queries.teachers import lock_teacher
from core.states import TERMINAL, DatasetState, JobState

UNFINISHED: Final = tuple(state for state in JobState if state not in TERMINAL)
NAMED_JOBS: Final = 10


def remove_later(session: Session, prefixes: Iterable[str]) -> None:
    """Have every object below these prefixes removed once the transaction is committed.

    A note that is there already is renewed: a sweep that has just been by may have missed what this one means.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for prefix in prefixes:
        note = insert(Deletion).values(prefix=prefix, created_at=clock.now())
        renewed = {Deletion.created_at: note.excluded.created_at}
        session.execute(note.on_conflict_do_update(index_elements=[Deletion.prefix], set_=renewed))


def delete_job(session: Session, job_id: str, viewer: Principal) -> None:
    """Delete a job that has ended, with its files and events.

    Its row stays, unseen, while the time that it had on devices counts for its owner.

    Raises:
        NotFound: when there is none in sight.
        WrongState: when it waits or runs.
    """
    job = lock_job(session, job_id, viewer)
    if job.state not in TERMINAL:
        raise WrongState("job", job_id, job.state, " or ".join(sorted(TERMINAL)))
    for table in (JobEvent, Artifact):
        session.execute(delete(table).where(table.job_id == job_id))
    job.name = job.error = job.result = job.progress = job.checkpoint = None
    _hide(session, job)
    remove_later(session, [f"jobs/{job_id}"])


def delete_dataset(session: Session, dataset_id: str, viewer: Principal) -> None:
    """Delete a dataset with its parts and images.

    Its row stays, unseen, for as long as jobs name it.

    Raises:
        NotFound: when there is none in sight.
        WrongState: while it is being read.
        InUse: while jobs that wait or run need it.
    """
    dataset = lock_dataset(session, dataset_id, viewer)
    if dataset.state is DatasetState.INGESTING:
        needed = (DatasetState.UPLOADING, DatasetState.READY, DatasetState.FAILED)
        raise WrongState("dataset", dataset_id, dataset.state, " or ".join(needed))
    uses = or_(Job.dataset_id == dataset_id, Job.probe_dataset_id == dataset_id)
    _refuse_if_used(session, "dataset", dataset_id, uses)
    hide_dataset(session, dataset)


def hide_dataset(session: Session, dataset: Dataset) -> None:
    """Delete a dataset, locked by the caller, that nothing uses."""
    session.execute(delete(DatasetPart).where(DatasetPart.dataset_id == dataset.id))
    dataset.name = ""
    dataset.image_count = dataset.size_bytes = None
    dataset.class_names = dataset.splits = dataset.error = dataset.report_key = None
    dataset.statistics = dataset.contact_sheet = None
    _hide(session, dataset)
    remove_later(session, [f"datasets/{dataset.id}"])


def delete_teacher(session: Session, teacher_id: str, viewer: Principal) -> None:
    """Delete an uploaded teacher.

    Raises:
        NotFound: when there is none in sight; those of the catalogue are nobody's.
        InUse: while jobs that wait or run need it.
    """
    teacher = lock_teacher(session, teacher_id, viewer)
    if teacher is None:
        raise NotFound("uploaded teacher", teacher_id)
    _refuse_if_used(session, "teacher", teacher_id, Job.teacher["teacher_id"].as_string() == teacher_id)
    session.delete(teacher)
    session.flush()
    remove_later(session, [f"teachers/{teacher_id}"])


def _refuse_if_used(session: Session, kind: str, identifier: str, uses: ColumnElement[bool]) -> None:
    statement = select(Job.id).where(Job.state.in_(UNFINISHED), uses).order_by(Job.id).limit(NAMED_JOBS + 1)
    jobs: Sequence[str] = session.scalars(statement).all()
    if jobs:
        raise InUse(kind, identifier, jobs[:NAMED_JOBS], are_more=len(jobs) > NAMED_JOBS)


def _hide(session: Session, row: Job | Dataset) -> None:
    row.deleted_at = session.execute(select(clock.now())).scalar_one()
    session.flush()
