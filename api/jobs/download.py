"""Sending an artefact from the object store."""

from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from api.conditional import PRIVATE, names_etag
from api.jobs.ranges import ByteRange, RangeNotSatisfiable, parse_range
from api.problems import problem_response
from api.resources import Resources
from core.errors import NotFound, ObjectMissing
from core.models import Artifact
from core.principals import Principal
from core.queries.artifacts import find_artifact
from core.queries.jobs import get_job


def locate(resources: Resources, viewer: Principal, job_id: str, name: str) -> Artifact:
    """The artefact's row, once its object is known to be there, whole.

    Raises:
        NotFound: when the job has no such file, or has not succeeded yet.
        ObjectMissing: when the stored object is gone or has another size.
    """
    with resources.database.read() as session:
        get_job(session, job_id, viewer)
        artifact = find_artifact(session, job_id, name)
    if artifact is None:
        raise NotFound("artefact", name)
    if resources.storage.size_bytes(artifact.key) != artifact.size_bytes:
        raise ObjectMissing(artifact.key)
    return artifact


def respond(resources: Resources, artifact: Artifact, request: Request) -> Response:
    """Answer 200, 206, 304 or 416, as the request's headers ask."""
    etag = f'"{artifact.sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": PRIVATE}
    if names_etag(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    # A range of another version would be glued to the wrong bytes.
    wanted = request.headers.get("range") if request.headers.get("if-range", etag) == etag else None
    try:
        part = parse_range(wanted, artifact.size_bytes)
    except RangeNotSatisfiable as error:
        unsatisfied = {"Content-Range": f"bytes */{artifact.size_bytes}"}
        return problem_response(
            request.url.path, error.status, error.code, error.title, str(error), headers=unsatisfied
        )
    sent = part or ByteRange(0, artifact.size_bytes)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{artifact.size_bytes}"
    headers["Content-Length"] = str(sent.end - sent.start)
    headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(artifact.name)}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=artifact.content_type)
    chunks = resources.storage.iter_range(artifact.key, sent.start, sent.end)
    return StreamingResponse(chunks, status, headers, artifact.content_type)
