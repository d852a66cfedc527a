"""Endpoints of teachers."""

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.access import InSight, Reader, Writer
from api.forms import read_form
from api.idempotency import OnceDep
from api.resources import ResourcesDep
from api.teachers import service
from api.teachers.schemas import TeacherForm, TeacherList, TeacherOut
from core import deletion
from core.queries import audit

router = APIRouter(prefix="/teachers", tags=["teachers"])


def _upload_body() -> dict[str, object]:
    schema = TeacherForm.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "A safetensors file; no pickles."}
    schema["properties"] = {"file": file, **schema["properties"]}
    schema["required"] = ["file", *schema["required"]]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@router.get("")
def list_teachers(resources: ResourcesDep, wanted: InSight) -> TeacherList:
    """The user's own teachers, then the catalogue."""
    with resources.database.read() as session:
        return TeacherList(data=service.list_teachers(session, resources.catalogue, wanted))


@router.get("/{teacher_id}")
def get_teacher(teacher_id: str, resources: ResourcesDep, principal: Reader) -> TeacherOut:
    """One teacher, by id, name or alias."""
    with resources.database.read() as session:
        return service.get_teacher(session, resources.catalogue, teacher_id, principal)


@router.delete("/{teacher_id}", status_code=204)
def delete_teacher(teacher_id: str, resources: ResourcesDep, principal: Writer) -> None:
    """Delete an uploaded teacher that no waiting or running job needs."""
    with resources.database.write() as session:
        deletion.delete_teacher(session, teacher_id, principal)
        audit.record(session, principal, "teacher.delete", teacher_id)


@router.post("", status_code=201, response_model=TeacherOut, openapi_extra=_upload_body())
async def add_teacher(
    request: Request, response: Response, resources: ResourcesDep, principal: Writer, once: OnceDep
) -> TeacherOut:
    """Upload a safetensors checkpoint of a timm architecture."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, "Send multipart/form-data.")
    async with read_form(request, max_files=1) as form:
        teacher = await run_in_threadpool(service.add_teacher, resources, principal, once, form)
    response.headers["Location"] = f"/teachers/{teacher.id}"
    return teacher
