"""Parts that go straight into the bucket: a URL is given out, the store takes the bytes, and the part is confirmed.

Until then the object is no part: it is in no list, no ingest reads it, and the sweep removes it when nobody confirms.
Its bytes count for the owner from the moment in which the URL is given out.
"""

from urllib.parse import quote

from api.datasets import service
from api.datasets.digest import content_digest
from api.datasets.schemas import PartAnnounced, PartOut, UploadTarget
from api.resources import Resources
from core.errors import (
    ChecksumMismatch,
    FieldProblem,
    InvalidFields,
    NotFound,
    NotUploaded,
    ObjectMissing,
    PayloadTooLarge,
)
from core.models import PartUpload
from core.principals import Principal
from core.queries import datasets as queries
from core.queries import part_uploads
from core.quotas import check_bytes
from core.storage import StoredObject

CONTENT_TYPE = "application/octet-stream"


def give_target(
    resources: Resources, principal: Principal, dataset_id: str, number: int, announced: PartAnnounced
) -> UploadTarget:
    """Say where a part is to be sent.

    Raises:
        WrongState: the upload is complete.
        PayloadTooLarge: it is larger than one upload may be.
        QuotaExceeded: the owner has no room for it.
    """
    settings = resources.settings
    if announced.size_bytes > settings.max_upload_bytes:
        raise PayloadTooLarge(settings.max_upload_bytes)
    path = f"/datasets/{dataset_id}/parts/{number}"
    if resources.direct_uploads is None:
        with resources.database.read() as session:
            service.require_uploading(queries.get_dataset(session, dataset_id, principal))
        query = f"?filename={quote(announced.filename, safe='')}" if announced.filename else ""
        headers = {"Content-Digest": content_digest(announced.sha256)}
        return UploadTarget(direct=False, url=path + query, headers=headers, expires_at=None, confirm=None)
    with resources.database.write() as session:
        dataset = queries.lock_dataset(session, dataset_id, principal)
        service.require_uploading(dataset)
        wanted = PartUpload(
            key=service.part_key(dataset_id, number) + part_uploads.DIRECT_SUFFIX,
            dataset_id=dataset_id,
            owner=dataset.owner,
            number=number,
            **announced.model_dump(),
        )
        upload, is_new = part_uploads.reserve(session, wanted, settings.upload_url_seconds)
        there = queries.get_part(session, dataset_id, number)
        # Sent again because no answer came, a part needs no more room than it has.
        if is_new and (there is None or there.sha256 != announced.sha256):
            check_bytes(session, settings, dataset.owner, 0)
        key, expires_at = upload.key, upload.expires_at
    signed = resources.direct_uploads.sign(
        key, announced.size_bytes, announced.sha256, settings.upload_url_seconds
    )
    return UploadTarget(
        direct=True, url=signed.url, headers=signed.headers, expires_at=expires_at, confirm=f"{path}/confirm"
    )


def confirm(
    resources: Resources, principal: Principal, dataset_id: str, number: int, sha256: str
) -> tuple[PartOut, bool]:
    """Make a part of what was stored.

    Returns:
        The part, and whether its number is new.

    Raises:
        NotFound: no URL was given out for this.
        NotUploaded: nothing was stored by it.
        InvalidFields, ChecksumMismatch: what was stored is something else; it is removed.
    """
    with resources.database.read() as session:
        queries.get_dataset(session, dataset_id, principal)
        upload = part_uploads.find(session, dataset_id, number, sha256)
    if upload is None or resources.direct_uploads is None:
        raise NotFound("direct upload of part", f"{number} with sha256 {sha256}")
    _check_stored(resources, upload)
    stored = StoredObject(upload.key, upload.size_bytes, upload.sha256)
    with resources.database.write() as session:
        part, superseded, is_new = service.record_part(
            session, principal, dataset_id, number, stored, upload.filename, CONTENT_TYPE
        )
        noted = session.get(PartUpload, upload.key, populate_existing=True, with_for_update=True)
        if noted is None:
            # The sweep has just given it up, and its object goes.
            raise NotUploaded(dataset_id, number)
        noted.is_confirmed = True
        session.flush()
        shown = PartOut.of(part)
    if superseded is not None:
        resources.storage.delete(superseded)
    return shown, is_new


def _check_stored(resources: Resources, upload: PartUpload) -> None:
    """Compare what the store has with what was announced; what is something else is removed."""
    assert resources.direct_uploads is not None
    try:
        found = resources.direct_uploads.stored(upload.key)
    except ObjectMissing as error:
        raise NotUploaded(upload.dataset_id, upload.number) from error
    if found.size_bytes != upload.size_bytes:
        resources.storage.delete(upload.key)
        message = f"announced {upload.size_bytes:,}, stored {found.size_bytes:,}; send the part again"
        raise InvalidFields(FieldProblem("size_bytes", message, str(upload.size_bytes), found.size_bytes))
    # A store without checksums knows none: then the ingest compares while it reads.
    if found.sha256 is not None and found.sha256 != upload.sha256:
        resources.storage.delete(upload.key)
        raise ChecksumMismatch("sha256", upload.sha256, found.sha256)
