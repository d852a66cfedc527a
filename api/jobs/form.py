"""`POST /jobs` as a form: the files become datasets and the job waits for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from api.datasets.service import part_key
from api.idempotency import Once, form_contents
from api.jobs.schemas import JobOut, JobRequest
from api.jobs.service import Plan, add_job, parse_request, plan_job
from api.resources import Resources
from core.errors import FieldProblem, InvalidFields
from core.ids import new_id
from core.leases import mark_sent
from core.models import Dataset, DatasetPart
from core.principals import Principal
from core.queries import audit
from core.queries.datasets import replace_part
from core.quotas import check_bytes, check_images, check_new_job
from core.settings import Settings
from core.states import DatasetState
from core.storage import Storage

FILE_FIELDS = ("images", "probe")


@dataclass(frozen=True)
class JobForm:
    """The form, sorted."""

    values: Mapping[str, str]
    images: Sequence[UploadFile]
    probe: Sequence[UploadFile]


@dataclass(frozen=True)
class NewDataset:
    """A dataset whose files are stored and whose rows are not."""

    id: str
    name: str
    parts: Sequence[DatasetPart]


def sort_form(form: FormData) -> JobForm:
    """Sort the fields from the files.

    Raises:
        InvalidFields: names the form's field.
    """
    values: dict[str, str] = {}
    files: dict[str, list[UploadFile]] = {name: [] for name in FILE_FIELDS}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            _add_file(files, name, value)
        elif name in FILE_FIELDS:
            message = f"must be a file: curl -F {name}=@{value[:80]}"
            raise InvalidFields(FieldProblem(name, message, "an archive or images"))
        elif name in values:
            raise InvalidFields(FieldProblem(name, "is given twice"))
        else:
            values[name] = value
    if not files["images"]:
        message = "at least one file is needed: curl -F images=@photos.zip"
        raise InvalidFields(FieldProblem("images", message, "an archive or images"))
    return JobForm(values, files["images"], files["probe"])


def _add_file(files: dict[str, list[UploadFile]], name: str, value: UploadFile) -> None:
    if name not in files:
        raise InvalidFields(FieldProblem(name, "takes text, not a file", f"files: {', '.join(FILE_FIELDS)}"))
    if not value.size:
        raise InvalidFields(
            FieldProblem(name, f"the file {value.filename!r} is empty", "an archive or images")
        )
    files[name].append(value)


def create_job_from_form(
    resources: Resources, principal: Principal, once: Once, sent: FormData
) -> tuple[JobOut, list[str]]:
    """Check, store the files, then write every row in one transaction.

    Returns:
        The job, and the ids of the datasets that are to be ingested.
    """
    form = sort_form(sent)
    contents = form_contents(sent) if once.key is not None else None
    with resources.database.read() as session:
        once.look(session, contents)
        request = parse_request(session, resources.catalogue, principal, JobRequest, form.values)
        plan_job(session, resources, principal, request)
        size_bytes = sum(file.size or 0 for file in (*form.images, *form.probe))
        _check_quotas(session, resources.settings, principal.owner, size_bytes)
    stored: list[NewDataset] = []
    try:
        stored.append(_store_files(resources.storage, "images", form.images))
        if form.probe:
            stored.append(_store_files(resources.storage, "probe", form.probe))
        with resources.database.write() as session:
            once.begin(session, contents)
            # Again, because the teacher may have been deleted meanwhile.
            plan = plan_job(session, resources, principal, request)
            job = _record(session, resources.settings, plan, stored)
            once.finish(session, 201, job, job.links["self"])
    except Exception:
        for dataset in stored:
            resources.storage.delete_prefix(f"datasets/{dataset.id}")
        raise
    return job, [dataset.id for dataset in stored]


def _store_files(storage: Storage, name: str, files: Sequence[UploadFile]) -> NewDataset:
    dataset_id = new_id("ds")
    try:
        parts = [_store_part(storage, dataset_id, number, file) for number, file in enumerate(files, start=1)]
    except Exception:
        storage.delete_prefix(f"datasets/{dataset_id}")
        raise
    return NewDataset(dataset_id, files[0].filename or name if len(files) == 1 else name, parts)


def _store_part(storage: Storage, dataset_id: str, number: int, file: UploadFile) -> DatasetPart:
    stored = storage.put_file(part_key(dataset_id, number), file.file)
    return DatasetPart(
        dataset_id=dataset_id,
        number=number,
        key=stored.key,
        filename=(file.filename or "")[:400] or None,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        content_type=(file.content_type or "application/octet-stream")[:200],
    )


def _check_quotas(session: Session, settings: Settings, owner: str, more_bytes: int) -> None:
    check_bytes(session, settings, owner, more_bytes)
    check_images(session, settings, owner)
    check_new_job(session, settings, owner)


def _record(session: Session, settings: Settings, plan: Plan, stored: Sequence[NewDataset]) -> JobOut:
    for new in stored:
        owner = plan.principal.owner
        session.add(Dataset(id=new.id, owner=owner, name=new.name[:200], state=DatasetState.INGESTING))
        session.flush()
        audit.record(session, plan.principal, "dataset.create", new.id)
        for part in new.parts:
            replace_part(session, part)
    _check_quotas(session, settings, plan.principal.owner, 0)
    mark_sent(session, "dataset", [new.id for new in stored])
    probe_id = stored[1].id if len(stored) > 1 else None
    return JobOut.of(add_job(session, plan, stored[0].id, probe_id))
