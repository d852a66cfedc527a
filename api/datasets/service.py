"""The rules of uploading a dataset."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from api.datasets.schemas import PartDigest
from core.errors import FieldProblem, InvalidFields, WrongState
from core.ids import new_id
from core.leases import mark_sent
from core.models import Dataset, DatasetPart
from core.principals import Principal
from core.queries import audit
from core.queries import datasets as queries
from core.states import DatasetState
from core.storage import StoredObject


def part_key(dataset_id: str, number: int) -> str:
    """A key of its own for every upload: a part is replaced by the row, never under a reader."""
    return f"datasets/{dataset_id}/parts/{number:05d}-{new_id('ds')[3:]}"


def require_uploading(dataset: Dataset) -> None:
    """Refuse to change what is complete.

    Raises:
        WrongState: when the upload was completed.
    """
    if dataset.state is not DatasetState.UPLOADING:
        raise WrongState("dataset", dataset.id, dataset.state, DatasetState.UPLOADING)


def record_part(
    session: Session,
    principal: Principal,
    dataset_id: str,
    number: int,
    stored: StoredObject,
    filename: str | None,
    content_type: str,
) -> tuple[DatasetPart, str | None, bool]:
    """Give the part its number.

    Returns:
        The part, the key of the object that is no longer needed (the old one, or the new one when the same bytes
        were there already), and whether the number is new.
    """
    require_uploading(queries.lock_dataset(session, dataset_id, principal))
    before = queries.get_part(session, dataset_id, number)
    if before is not None and before.sha256 == stored.sha256:
        return before, stored.key if stored.key != before.key else None, False
    part = DatasetPart(
        dataset_id=dataset_id,
        number=number,
        key=stored.key,
        filename=filename,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        content_type=content_type,
    )
    superseded = before.key if before is not None else None
    queries.replace_part(session, part)
    detail = {"number": number, "size_bytes": stored.size_bytes, "sha256": stored.sha256}
    audit.record(session, principal, "dataset.upload", dataset_id, detail)
    return part, superseded, before is None


def complete(
    session: Session, principal: Principal, dataset_id: str, announced: Sequence[PartDigest] | None
) -> tuple[Dataset, bool]:
    """Close the upload and hand it to the workers; again: nothing happens.

    Returns:
        The dataset, and whether this call completed it.
    """
    dataset = queries.lock_dataset(session, dataset_id, principal)
    if dataset.state is not DatasetState.UPLOADING:
        return dataset, False
    parts = queries.list_parts(session, dataset_id)
    if not parts:
        raise InvalidFields(FieldProblem("parts", "no part was uploaded yet", "at least one part"))
    if announced is not None:
        _compare(parts, announced)
    queries.start_ingest(session, dataset_id)
    mark_sent(session, "dataset", [dataset_id])
    audit.record(session, principal, "dataset.complete", dataset_id)
    session.refresh(dataset)
    return dataset, True


def _compare(parts: Sequence[DatasetPart], announced: Sequence[PartDigest]) -> None:
    uploaded = {part.number: part.sha256 for part in parts}
    expected = {part.number: part.sha256 for part in announced}
    problems = [
        FieldProblem(f"parts.{number}", _difference(uploaded.get(number), expected.get(number)))
        for number in sorted(uploaded.keys() | expected.keys())
        if uploaded.get(number) != expected.get(number)
    ]
    if problems:
        raise InvalidFields(*problems)


def _difference(uploaded: str | None, expected: str | None) -> str:
    if uploaded is None:
        return "this part was not uploaded"
    if expected is None:
        return "this part was uploaded but is not in the list"
    return f"the uploaded part has sha256 {uploaded}; upload it again"
