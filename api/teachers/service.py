"""The rules of teachers."""

from dataclasses import dataclass
from typing import IO

from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from api.idempotency import Once, form_contents
from api.resources import Resources
from api.teachers.schemas import TeacherForm, TeacherOut
from api.validation import parse_fields
from core.catalogue import Architecture, Catalogue
from core.errors import FieldProblem, InvalidFields, NotFound, UnknownTeacher, UnsupportedTeacher
from core.ids import new_id
from core.models import Teacher
from core.options import LEAST_PATCHES
from core.principals import Principal
from core.queries import audit
from core.queries import teachers as queries
from core.queries.paging import ListFilter
from core.quotas import check_bytes
from core.teacher_file import check_architecture, read_header


@dataclass(frozen=True)
class TeacherUpload:
    """A form, sorted."""

    fields: TeacherForm
    filename: str
    file: IO[bytes]
    size_bytes: int


def list_teachers(session: Session, catalogue: Catalogue, wanted: ListFilter) -> list[TeacherOut]:
    """The user's own teachers, then the catalogue."""
    own = [_view(catalogue, row) for row in queries.list_teachers(session, wanted)]
    return [*own, *map(TeacherOut.of_catalogue, catalogue.teachers)]


def get_teacher(session: Session, catalogue: Catalogue, identifier: str, viewer: Principal) -> TeacherOut:
    """The teacher with that id, name or alias.

    Raises:
        NotFound: when there is none in sight.
    """
    row = queries.find_teacher(session, identifier, viewer)
    if row is not None:
        return _view(catalogue, row)
    try:
        return TeacherOut.of_catalogue(catalogue.find_teacher(identifier))
    except (UnknownTeacher, UnsupportedTeacher) as error:
        raise NotFound("teacher", identifier) from error


def sort_form(form: FormData) -> TeacherUpload:
    """Sort the fields from the file.

    Raises:
        InvalidFields: names the form's field.
    """
    file = form.get("file")
    if not isinstance(file, UploadFile):
        message = "a file is needed: curl -F file=@teacher.safetensors"
        raise InvalidFields(FieldProblem("file", message, "one safetensors file"))
    if len(form.multi_items()) != len(form):
        raise InvalidFields(FieldProblem("body", "a field is given twice"))
    fields = parse_fields(TeacherForm, {name: value for name, value in form.items() if name != "file"})
    return TeacherUpload(fields, file.filename or "teacher.safetensors", file.file, file.size or 0)


def add_teacher(resources: Resources, principal: Principal, once: Once, form: FormData) -> TeacherOut:
    """Check the file's header against the architecture, then store it."""
    upload = sort_form(form)
    contents = form_contents(form) if once.key is not None else None
    name = upload.fields.architecture
    architecture = resources.catalogue.find_architecture(name)
    tensors = read_header(upload.file, upload.size_bytes)
    shape = check_architecture(tensors, name, architecture)
    image_size = upload.fields.image_size or shape.image_size or architecture.image_size
    _check_image_size(image_size, architecture)
    teacher_id = new_id("tch")
    with resources.database.read() as session:
        once.look(session, contents)
        check_bytes(session, resources.settings, principal.owner, upload.size_bytes)
    stored = resources.storage.put_file(f"teachers/{teacher_id}/teacher.safetensors", upload.file)
    row = Teacher(
        id=teacher_id,
        owner=principal.owner,
        name=upload.fields.name or upload.filename[:200],
        architecture=name,
        image_size=image_size,
        key=stored.key,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        depth=shape.depth,
        embed_dim=shape.embed_dim,
        parameters=shape.parameters,
        mean=upload.fields.mean,
        std=upload.fields.std,
    )
    try:
        with resources.database.write() as session:
            once.begin(session, contents)
            session.add(row)
            session.flush()
            check_bytes(session, resources.settings, principal.owner, 0)
            audit.record(session, principal, "teacher.create", teacher_id)
            teacher = _view(resources.catalogue, row)
            once.finish(session, 201, teacher, f"/teachers/{teacher_id}")
            return teacher
    except Exception:
        resources.storage.delete(stored.key)
        raise


def _check_image_size(image_size: int, architecture: Architecture) -> None:
    patch = architecture.patch_size
    if image_size == architecture.image_size:
        return
    if image_size % patch or image_size < LEAST_PATCHES * patch:
        allowed = f"multiples of {patch} from {LEAST_PATCHES * patch}"
        message = f"the architecture's patches are {patch} pixels wide"
        raise InvalidFields(FieldProblem("image_size", message, allowed, image_size))


def _view(catalogue: Catalogue, row: Teacher) -> TeacherOut:
    architecture = catalogue.find_architecture(row.architecture)
    return TeacherOut.of_row(row, architecture.family, architecture.limits(row.image_size))
