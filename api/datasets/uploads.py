"""Receiving a part: bytes go from the socket to the object store, hashed on the way, and then get their row."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool

from api.datasets import service
from api.datasets.digest import check_digest, parse_content_digest
from api.datasets.schemas import PartOut
from api.resources import Resources
from core.errors import FieldProblem, InvalidFields
from core.principals import Principal
from core.queries import datasets as queries
from core.quotas import check_bytes
from core.storage import StoredObject

LONGEST_CONTENT_TYPE = 200


@dataclass(frozen=True)
class PartUpload:
    """What the client says about a part; its size is not announced when it comes in chunks."""

    dataset_id: str
    number: int
    filename: str | None
    content_type: str | None
    announced_bytes: int | None = None


async def receive_part(
    resources: Resources,
    principal: Principal,
    upload: PartUpload,
    content_digest: str | None,
    body: AsyncIterator[bytes],
) -> tuple[PartOut, bool]:
    """Store the body as a part.

    Returns:
        The part, and whether its number is new.
    """
    announced = parse_content_digest(content_digest)
    await run_in_threadpool(_check, resources, principal, upload)
    key = service.part_key(upload.dataset_id, upload.number)
    stored = await resources.storage.put_stream(key, body, resources.settings.max_upload_bytes)
    try:
        if stored.size_bytes == 0:
            raise InvalidFields(FieldProblem("body", "the part is empty", "an archive or an image"))
        check_digest(announced, stored.sha256)
        part, superseded, is_new = await run_in_threadpool(_record, resources, principal, upload, stored)
    except Exception:
        await run_in_threadpool(resources.storage.delete, key)
        raise
    if superseded is not None:
        await run_in_threadpool(resources.storage.delete, superseded)
    return part, is_new


def _check(resources: Resources, principal: Principal, upload: PartUpload) -> None:
    """Refuse before the body is read what would be refused after it."""
    with resources.database.read() as session:
        dataset = queries.get_dataset(session, upload.dataset_id, principal)
        service.require_uploading(dataset)
        before = queries.get_part(session, dataset.id, upload.number)
        if before is None:
            check_bytes(session, resources.settings, dataset.owner, upload.announced_bytes or 1)


def _record(
    resources: Resources, principal: Principal, upload: PartUpload, stored: StoredObject
) -> tuple[PartOut, str | None, bool]:
    content_type = (upload.content_type or "application/octet-stream")[:LONGEST_CONTENT_TYPE]
    with resources.database.write() as session:
        part, superseded, is_new = service.record_part(
            session, principal, upload.dataset_id, upload.number, stored, upload.filename, content_type
        )
        if part.key == stored.key:
            # The part is counted by now, and what it replaces is not.
            dataset = queries.get_dataset(session, upload.dataset_id, principal)
            check_bytes(session, resources.settings, dataset.owner, 0)
        return PartOut.of(part), superseded, is_new
