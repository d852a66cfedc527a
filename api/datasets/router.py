"""Endpoints of datasets."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from api.access import Filtered, Reader, Writer
from api.conditional import PRIVATE, names_etag
from api.datasets import direct, left_out, service, uploads
from api.datasets.schemas import (
    HIGHEST_PART,
    DatasetComplete,
    DatasetCreate,
    DatasetList,
    DatasetOut,
    LeftOutList,
    PartAnnounced,
    PartConfirm,
    PartList,
    PartOut,
    UploadTarget,
)
from api.idempotency import OnceDep
from api.paging import PageDep, link_next
from api.resources import ResourcesDep
from core import deletion
from core.broker import send_ingest
from core.errors import NotFound
from core.left_out import LeftOutKind
from core.queries import audit
from core.queries import datasets as queries
from core.quotas import check_images
from core.states import DatasetState

router = APIRouter(prefix="/datasets", tags=["datasets"])
PartNumber = Annotated[int, Path(ge=1, le=HIGHEST_PART)]


@router.post("", status_code=201)
def create_dataset(
    resources: ResourcesDep,
    response: Response,
    principal: Writer,
    once: OnceDep,
    body: DatasetCreate | None = None,
) -> DatasetOut:
    """Begin a dataset; then upload its parts."""
    with resources.database.write() as session:
        name = (body or DatasetCreate()).name
        once.begin(session, {"name": name})
        dataset = DatasetOut.of(queries.add_dataset(session, principal.owner, name))
        audit.record(session, principal, "dataset.create", dataset.id)
        once.finish(session, 201, dataset, dataset.links["self"])
    response.headers["Location"] = dataset.links["self"]
    return dataset


@router.get("")
def list_datasets(
    request: Request,
    response: Response,
    resources: ResourcesDep,
    wanted: Filtered,
    page: PageDep,
    state: DatasetState | None = None,
    labelled: Annotated[
        bool | None, Query(description="Only those whose images lie in class folders, or only the others.")
    ] = None,
) -> DatasetList:
    """Datasets, newest first."""
    with resources.database.read() as session:
        found = queries.list_datasets(session, wanted, state, labelled, page.cursor, page.limit)
    link_next(request, response, found.next_cursor)
    rows = [DatasetOut.of(row) for row in found.rows]
    return DatasetList(data=rows, has_more=found.next_cursor is not None, next_cursor=found.next_cursor)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: str, resources: ResourcesDep, principal: Reader) -> DatasetOut:
    """One dataset."""
    with resources.database.read() as session:
        return DatasetOut.of(queries.get_dataset(session, dataset_id, principal))


@router.delete("/{dataset_id}", status_code=204)
def delete_dataset(dataset_id: str, resources: ResourcesDep, principal: Writer) -> None:
    """Delete a dataset that no waiting or running job needs, with everything that was uploaded for it."""
    with resources.database.write() as session:
        deletion.delete_dataset(session, dataset_id, principal)
        audit.record(session, principal, "dataset.delete", dataset_id)


@router.get("/{dataset_id}/parts")
def list_parts(dataset_id: str, resources: ResourcesDep, principal: Reader) -> PartList:
    """What has arrived, so that an interrupted upload sends only the rest."""
    with resources.database.read() as session:
        queries.get_dataset(session, dataset_id, principal)
        return PartList(data=[PartOut.of(part) for part in queries.list_parts(session, dataset_id)])


def _announced_bytes(request: Request) -> int | None:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else None


def _part_upload(
    request: Request,
    dataset_id: str,
    number: PartNumber,
    filename: Annotated[str | None, Query(max_length=400, pattern=r"^[^\x00-\x1f]*$")] = None,
) -> uploads.PartUpload:
    return uploads.PartUpload(
        dataset_id, number, filename, request.headers.get("content-type"), _announced_bytes(request)
    )


@router.put(
    "/{dataset_id}/parts/{number}",
    responses={
        201: {"model": PartOut, "description": "The part is new."},
        200: {"description": "The part was there."},
    },
    openapi_extra={
        "requestBody": {
            "description": "An archive (zip, tar, tar.gz) or one image.",
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_part(
    request: Request,
    response: Response,
    resources: ResourcesDep,
    principal: Writer,
    upload: Annotated[uploads.PartUpload, Depends(_part_upload)],
    content_digest: Annotated[str | None, Header(description="`sha-256=:BASE64:` (RFC 9530)")] = None,
) -> PartOut:
    """Upload one part; the same number again replaces it."""
    part, is_new = await uploads.receive_part(resources, principal, upload, content_digest, request.stream())
    response.status_code = 201 if is_new else 200
    return part


@router.post("/{dataset_id}/parts/{number}/upload-url")
def announce_part(
    dataset_id: str, number: PartNumber, body: PartAnnounced, resources: ResourcesDep, principal: Writer
) -> UploadTarget:
    """Where to send a part: a signed URL of the store, or this API."""
    return direct.give_target(resources, principal, dataset_id, number, body)


@router.post(
    "/{dataset_id}/parts/{number}/confirm",
    responses={
        201: {"model": PartOut, "description": "The part is new."},
        200: {"description": "The part was there."},
    },
)
def confirm_part(
    dataset_id: str,
    number: PartNumber,
    body: PartConfirm,
    response: Response,
    resources: ResourcesDep,
    principal: Writer,
) -> PartOut:
    """Make what was stored by a signed URL a part; again: the same answer."""
    part, is_new = direct.confirm(resources, principal, dataset_id, number, body.sha256)
    response.status_code = 201 if is_new else 200
    return part


@router.post("/{dataset_id}/complete", status_code=202)
def complete_dataset(
    dataset_id: str,
    resources: ResourcesDep,
    principal: Writer,
    background: BackgroundTasks,
    body: DatasetComplete | None = None,
) -> DatasetOut:
    """End the upload: the images are unpacked, checked and made ready."""
    with resources.database.write() as session:
        row, is_new = service.complete(session, principal, dataset_id, body.parts if body else None)
        if is_new:
            check_images(session, resources.settings, row.owner)
        dataset = DatasetOut.of(row)
    if is_new:
        background.add_task(send_ingest, resources.celery, dataset_id)
    return dataset


@router.get("/{dataset_id}/report", response_class=Response)
async def get_report(dataset_id: str, resources: ResourcesDep, principal: Reader) -> Response:
    """What the ingest found: each skipped file with its reason."""

    def find() -> tuple[str, int]:
        with resources.database.read() as session:
            key = queries.get_dataset(session, dataset_id, principal).report_key
        if key is None:
            raise NotFound("report of dataset", dataset_id)
        return key, resources.storage.size_bytes(key)

    key, size_bytes = await run_in_threadpool(find)
    chunks = resources.storage.iter_range(key, 0, size_bytes)
    headers = {"Content-Length": str(size_bytes)}
    return StreamingResponse(chunks, media_type="application/json", headers=headers)


def _left_out_query(
    kind: LeftOutKind | None = None,
    search: Annotated[
        str, Query(max_length=200, description="Words, each of which is in the path or the reason.")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=100, description="Rows a page.")] = 20,
    cursor: Annotated[int, Query(ge=0, le=10**15, description="`next_cursor` of the page before.")] = 0,
) -> left_out.LeftOutQuery:
    return left_out.LeftOutQuery(kind, tuple(search.casefold().split()), cursor, limit)


@router.get("/{dataset_id}/left-out")
def list_left_out(
    dataset_id: str,
    request: Request,
    response: Response,
    resources: ResourcesDep,
    principal: Reader,
    wanted: Annotated[left_out.LeftOutQuery, Depends(_left_out_query)],
) -> LeftOutList:
    """Every file that the ingest left out, in the order of the upload."""
    found = left_out.find(resources, principal, dataset_id, wanted)
    link_next(request, response, found.next_cursor)
    return found


@router.get(
    "/{dataset_id}/left-out.csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def get_left_out_csv(dataset_id: str, resources: ResourcesDep, principal: Reader) -> Response:
    """The same, all of it, as a table with the columns kind, path and reason."""
    rows = left_out.write_csv(resources, principal, dataset_id)
    headers = {"Content-Disposition": f'attachment; filename="{dataset_id}-left-out.csv"'}
    return StreamingResponse(rows, media_type="text/csv", headers=headers)


@router.get(
    "/{dataset_id}/contact-sheet",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "Not modified."}},
)
async def get_contact_sheet(
    request: Request, dataset_id: str, resources: ResourcesDep, principal: Reader
) -> Response:
    """Thumbnails of up to 100 of the images in one JPEG; `contact_sheet` of the dataset says how they lie."""

    def find() -> dict[str, Any]:
        with resources.database.read() as session:
            sheet = queries.get_dataset(session, dataset_id, principal).contact_sheet
        if sheet is None:
            raise NotFound("contact sheet of dataset", dataset_id)
        resources.storage.size_bytes(sheet["key"])
        return sheet

    sheet = await run_in_threadpool(find)
    etag = f'"{sheet["sha256"]}"'
    headers = {"ETag": etag, "Cache-Control": PRIVATE}
    if names_etag(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(sheet["size_bytes"])
    chunks = resources.storage.iter_range(sheet["key"], 0, sheet["size_bytes"])
    return StreamingResponse(chunks, media_type="image/jpeg", headers=headers)
