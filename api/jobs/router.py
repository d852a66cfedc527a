"""Endpoints of jobs."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse
from starlette.exceptions import HTTPException

from api import conditional
from api.access import Filtered, Reader, Writer
from api.forms import read_form
from api.idempotency import Once, OnceDep
from api.jobs import download, service
from api.jobs.dry_run import DryRun, DryRunRequest
from api.jobs.dry_run import dry_run as make_dry_run
from api.jobs.form import create_job_from_form
from api.jobs.openapi import job_bodies
from api.jobs.schemas import ArtifactList, ArtifactOut, EventList, EventOut, JobCreate, JobList, JobOut
from api.jobs.stream import read_batch, stream_events
from api.paging import PageDep, next_link
from api.resources import Resources, ResourcesDep
from api.validation import parse_json_object
from core import deletion
from core.broker import send_ingest, send_run_job
from core.principals import Principal
from core.queries import artifacts, audit, events
from core.queries import jobs as queries
from core.states import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])
HIGHEST_SEQ = 2**31 - 1
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Not modified."}}


@router.post(
    "",
    status_code=201,
    response_model=JobOut,
    responses={200: {"model": DryRun, "description": "What the job would come to; nothing is stored."}},
    openapi_extra=job_bodies(),
)
async def create_job(
    request: Request,
    response: Response,
    resources: ResourcesDep,
    principal: Writer,
    once: OnceDep,
    background: BackgroundTasks,
    dry_run: Annotated[
        bool,
        Query(description="Only say what the job would come to; the dataset may be left out. JSON only."),
    ] = False,
) -> JobOut | Response:
    """Start a job: JSON on a dataset that exists, or a form that brings the images along."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if dry_run:
        if content_type != "application/json":
            raise HTTPException(415, "Send application/json for a dry run.")
        values = parse_json_object(await request.body())
        return await run_in_threadpool(_dry_run, values, resources, principal)
    if content_type == "multipart/form-data":
        job = await _create_from_form(request, resources, principal, once, background)
    elif content_type == "application/json":
        values = parse_json_object(await request.body())
        job = await run_in_threadpool(_create_from_json, values, resources, principal, once, background)
    else:
        raise HTTPException(415, "Send application/json or multipart/form-data.")
    response.headers["Location"] = job.links["self"]
    return job


def _dry_run(values: dict[str, Any], resources: Resources, principal: Principal) -> Response:
    with resources.database.read() as session:
        body = service.parse_request(session, resources.catalogue, principal, DryRunRequest, values)
        found = make_dry_run(session, resources, principal, body)
    return Response(found.model_dump_json(), media_type="application/json")


async def _create_from_form(
    request: Request, resources: Resources, principal: Principal, once: Once, background: BackgroundTasks
) -> JobOut:
    async with read_form(request, resources.settings.max_form_files) as form:
        job, dataset_ids = await run_in_threadpool(create_job_from_form, resources, principal, once, form)
    for dataset_id in dataset_ids:
        background.add_task(send_ingest, resources.celery, dataset_id)
    return job


def _create_from_json(
    values: dict[str, Any],
    resources: Resources,
    principal: Principal,
    once: Once,
    background: BackgroundTasks,
) -> JobOut:
    with resources.database.write() as session:
        once.begin(session, values)
        body = service.parse_request(session, resources.catalogue, principal, JobCreate, values)
        row, is_ready = service.create_job(session, resources, principal, body)
        job = JobOut.of(row)
        once.finish(session, 201, job, job.links["self"])
    if is_ready:
        background.add_task(send_run_job, resources.celery, job.id, job.device_bytes)
    return job


@router.get("", response_model=JobList, responses=NOT_MODIFIED)
def list_jobs(
    request: Request,
    resources: ResourcesDep,
    wanted: Filtered,
    page: PageDep,
    state: JobState | None = None,
) -> Response:
    """Jobs, newest first."""
    with resources.database.read() as session:
        found = queries.list_jobs(session, wanted, state, page.cursor, page.limit)
    rows = [JobOut.of(row) for row in found.rows]
    jobs = JobList(data=rows, has_more=found.next_cursor is not None, next_cursor=found.next_cursor)
    return conditional.respond(request, jobs, next_link(request, found.next_cursor))


@router.get("/{job_id}", response_model=JobOut, responses=NOT_MODIFIED)
def get_job(request: Request, job_id: str, resources: ResourcesDep, principal: Reader) -> Response:
    """One job."""
    with resources.database.read() as session:
        job = JobOut.of(queries.get_job(session, job_id, principal))
    return conditional.respond(request, job)


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: str, resources: ResourcesDep, principal: Writer) -> None:
    """Delete a job that has ended, with its events and files."""
    with resources.database.write() as session:
        deletion.delete_job(session, job_id, principal)
        audit.record(session, principal, "job.delete", job_id)


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, resources: ResourcesDep, principal: Writer) -> JobOut:
    """Ask for the end of a job; again, or on a finished one: nothing changes."""
    with resources.database.write() as session:
        job, is_new = queries.request_cancel(session, job_id, principal)
        if is_new:
            audit.record(session, principal, "job.cancel", job_id)
        return JobOut.of(job)


@router.post("/{job_id}/retry")
def retry_job(
    job_id: str, resources: ResourcesDep, principal: Writer, once: OnceDep, background: BackgroundTasks
) -> JobOut:
    """Queue a failed or cancelled job again; it resumes from its last checkpoint."""
    with resources.database.write() as session:
        once.begin(session, None)
        row, is_ready = service.retry_job(session, resources, principal, job_id)
        job = JobOut.of(row)
        once.finish(session, 200, job)
    if is_ready:
        background.add_task(send_run_job, resources.celery, job.id, job.device_bytes)
    return job


@router.get(
    "/{job_id}/events",
    response_model=EventList,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "The stream is over and `Last-Event-ID` names its last event."},
    },
)
async def list_events(
    request: Request,
    job_id: str,
    resources: ResourcesDep,
    principal: Reader,
    after: Annotated[int, Query(ge=0, le=HIGHEST_SEQ, description="Only events with a greater `seq`.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    last_event_id: Annotated[int | None, Header(ge=0, le=HIGHEST_SEQ)] = None,
) -> EventList | Response:
    """Events as JSON, or as a stream with `Accept: text/event-stream`."""
    if "text/event-stream" not in request.headers.get("accept", ""):
        return await run_in_threadpool(_list_events, resources, principal, job_id, after, limit)
    start = after if last_event_id is None else last_event_id
    pending, is_over = await run_in_threadpool(read_batch, resources, principal, job_id, start)
    if is_over and not pending:
        # A browser's EventSource reconnects for ever; 204 is how it is told to stop.
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = stream_events(resources, principal, job_id, start, pending, is_over)
    return EventSourceResponse(stream, headers=headers)


def _list_events(resources: Resources, viewer: Principal, job_id: str, after: int, limit: int) -> EventList:
    with resources.database.read() as session:
        queries.get_job(session, job_id, viewer)
        rows = events.list_events(session, job_id, after, limit + 1)
    return EventList(data=[EventOut.of(row) for row in rows[:limit]], has_more=len(rows) > limit)


@router.get("/{job_id}/artifacts")
def list_artifacts(job_id: str, resources: ResourcesDep, principal: Reader) -> ArtifactList:
    """The files of a job that succeeded."""
    with resources.database.read() as session:
        queries.get_job(session, job_id, principal)
        rows = artifacts.list_artifacts(session, job_id)
    return ArtifactList(data=[ArtifactOut.of(row) for row in rows])


@router.api_route("/{job_id}/artifacts/{name}", methods=["HEAD"], include_in_schema=False)
@router.get(
    "/{job_id}/artifacts/{name}",
    response_class=Response,
    responses={206: {"description": "The range asked for."}, 304: {"description": "Not modified."}},
)
async def get_artifact(
    request: Request, job_id: str, name: str, resources: ResourcesDep, principal: Reader
) -> Response:
    """Download a file; one `Range` may be asked for."""
    artifact = await run_in_threadpool(download.locate, resources, principal, job_id, name)
    return download.respond(resources, artifact, request)
