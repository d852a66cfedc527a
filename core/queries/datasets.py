"""Queries on `datasets` and `dataset_parts`."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.ids import new_id
from core.models import Dataset, DatasetPart
from core.principals import Principal
from core.queries.paging import Page, RowFilter, fetch_page
from core.states import DatasetState


def add_dataset(session: Session, owner: str, name: str) -> Dataset:
    """A new dataset that waits for its parts."""
    dataset = Dataset(id=new_id("ds"), owner=owner, name=name)
    session.add(dataset)
    session.flush()
    return dataset


def get_dataset(session: Session, dataset_id: str, viewer: Principal) -> Dataset:
    """The dataset of that id.

    Raises:
        NotFound: when there is none in sight.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.deleted_at is not None or not viewer.may_see(dataset.owner):
        raise NotFound("dataset", dataset_id)
    return dataset


def lock_dataset(session: Session, dataset_id: str, viewer: Principal, *, shared: bool = False) -> Dataset:
    """The dataset of that id, whose state stays as it is until this transaction ends.

    Raises:
        NotFound: when there is none in sight.
    """
    statement = select(Dataset).where(Dataset.id == dataset_id).with_for_update(read=shared)
    dataset = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if dataset is None or dataset.deleted_at is not None or not viewer.may_see(dataset.owner):
        raise NotFound("dataset", dataset_id)
    return dataset


def list_datasets(
    session: Session,
    wanted: RowFilter,
    state: DatasetState | None,
    labelled: bool | None,
    cursor: str | None,
    limit: int,
) -> Page[Dataset]:
    """Datasets, newest first; those with class folders, or those without, where `labelled` says so."""
    statement = select(Dataset).where(*wanted.matching(Dataset), Dataset.deleted_at.is_(None))
    if state is not None:
        statement = statement.where(Dataset.state == state)
    if labelled is not None:
        has_classes = Dataset.class_names.is_not(None)
        statement = statement.where(has_classes if labelled else ~has_classes)
    return fetch_page(session, statement, Dataset.id, cursor, limit)


def existing_datasets(session: Session, ids: Collection[str]) -> set[str]:
    """Those of the ids that name a dataset."""
    return set(session.scalars(select(Dataset.id).where(Dataset.id.in_(ids), Dataset.deleted_at.is_(None))))


def start_ingest(session: Session, dataset_id: str) -> None:
    """The upload is complete: workers may take it."""
    session.execute(
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.state == DatasetState.UPLOADING)
        .values(state=DatasetState.INGESTING, last_sent_at=None, send_count=0)
        .execution_options(synchronize_session=False)
    )


def list_parts(session: Session, dataset_id: str) -> Sequence[DatasetPart]:
    """The parts by number."""
    statement = select(DatasetPart).where(DatasetPart.dataset_id == dataset_id)
    return session.scalars(statement.order_by(DatasetPart.number)).all()


def get_part(session: Session, dataset_id: str, number: int) -> DatasetPart | None:
    """One part, if it was uploaded."""
    statement = select(DatasetPart).where(DatasetPart.dataset_id == dataset_id, DatasetPart.number == number)
    return session.scalars(statement).one_or_none()


def replace_part(session: Session, part: DatasetPart) -> None:
    """Store a part in the place of the one with its number; the caller holds the dataset's lock."""
    session.execute(
        delete(DatasetPart).where(
            DatasetPart.dataset_id == part.dataset_id, DatasetPart.number == part.number
        )
    )
    session.add(part)
    session.flush()
