"""The rules of creating a job. Everything is checked before anything is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.jobs.schemas import JobCreate, JobRequest
from api.resources import Resources
from api.validation import parse_fields
from core.catalogue import Catalogue, ResolvedTeacher
from core.errors import FieldProblem, InvalidFields, NotFound, UnknownTeacher
from core.ids import new_id
from core.leases import mark_sent
from core.models import Dataset, Job, Teacher
from core.options import (
    DEFAULT_LORA_RANK,
    JobOptions,
    TeacherLimits,
    allowed_by_teacher,
    check_against_teacher,
)
from core.principals import Principal
from core.queries import audit
from core.queries import datasets as dataset_queries
from core.queries import jobs as job_queries
from core.queries.teachers import find_teacher
from core.quotas import check_new_job
from core.recipes import check_combinations, complete_options, given_options
from core.states import DatasetState

Request = TypeVar("Request", bound=JobRequest)
UPLOADED_PREFIX = "tch_"
USABLE = frozenset({DatasetState.INGESTING, DatasetState.READY})


@dataclass(frozen=True)
class Plan:
    """A request that was found good: the teacher resolved, the options complete.

    Attributes:
        principal: who asks; the job belongs to the same owner.
        name: of the job.
        teacher: as the row keeps it.
        given: the options that the user set.
        options: what they come to with the recipe's values and the defaults.
    """

    principal: Principal
    name: str | None
    teacher: ResolvedTeacher
    given: dict[str, Any]
    options: JobOptions


def plan_job(session: Session, catalogue: Catalogue, principal: Principal, request: JobRequest) -> Plan:
    """Resolve the teacher, complete the options, and check them against it and against each other.

    Raises:
        UnknownTeacher: suggests the nearest names.
        UnsupportedTeacher: says why.
        InvalidFields: names every option at fault and its range.
    """
    teacher, limits = _resolve_teacher(session, catalogue, principal, request.teacher)
    given = given_options(request)
    options = complete_options(given, min(DEFAULT_LORA_RANK, limits.max_lora_rank))
    problems = [*check_combinations(options), *check_against_teacher(options, limits)]
    if problems:
        raise InvalidFields(*problems)
    return Plan(principal, request.name, teacher, given, options)


def parse_request(
    session: Session,
    catalogue: Catalogue,
    principal: Principal,
    model: type[Request],
    values: Mapping[str, Any],
) -> Request:
    """Build the request; when an option is out of range, say what the teacher named beside it allows.

    Raises:
        InvalidFields: names every field at fault and its range.
    """
    try:
        return parse_fields(model, values)
    except InvalidFields as error:
        try:
            _, limits = _resolve_teacher(session, catalogue, principal, str(values.get("teacher")))
        except InvalidFields:
            raise error from None
        allowed = allowed_by_teacher(limits)
        narrowed = (replace(each, allowed=allowed.get(each.field, each.allowed)) for each in error.problems)
        raise InvalidFields(*narrowed) from error


def create_job(
    session: Session, resources: Resources, principal: Principal, request: JobCreate
) -> tuple[Job, bool]:
    """A job on datasets that exist.

    Returns:
        The job, and whether workers could start it now (its datasets are ready).
    """
    plan = plan_job(session, resources.catalogue, principal, request)
    probe_id = request.probe.dataset_id if request.probe else None
    dataset = _usable_dataset(session, principal, "dataset_id", request.dataset_id)
    probe = _usable_dataset(session, principal, "probe.dataset_id", probe_id) if probe_id else None
    check_new_job(session, resources.settings, principal.owner)
    job = add_job(session, plan, dataset.id, probe_id)
    is_ready = all(each.state is DatasetState.READY for each in (dataset, probe) if each is not None)
    if is_ready:
        mark_sent(session, "job", [job.id])
    return job, is_ready


def add_job(session: Session, plan: Plan, dataset_id: str, probe_dataset_id: str | None) -> Job:
    """Store a planned job."""
    job = Job(
        id=new_id("job"),
        owner=plan.principal.owner,
        name=plan.name,
        teacher=plan.teacher.model_dump(mode="json"),
        given=plan.given,
        options=plan.options.model_dump(mode="json"),
        dataset_id=dataset_id,
        probe_dataset_id=probe_dataset_id,
    )
    job_queries.add_job(session, job)
    audit.record(session, plan.principal, "job.create", job.id)
    return job


def _resolve_teacher(
    session: Session, catalogue: Catalogue, principal: Principal, name: str
) -> tuple[ResolvedTeacher, TeacherLimits]:
    if not name.startswith(UPLOADED_PREFIX):
        teacher = catalogue.find_teacher(name)
        return teacher.resolve(), teacher.limits()
    uploaded = find_teacher(session, name, principal)
    if uploaded is None:
        raise UnknownTeacher(FieldProblem("teacher", f"there is no uploaded teacher {name}", input=name))
    limits = catalogue.find_architecture(uploaded.architecture).limits(uploaded.image_size)
    return resolve_uploaded(uploaded), limits


def resolve_uploaded(teacher: Teacher) -> ResolvedTeacher:
    """The form of an uploaded teacher that is kept in a job."""
    return ResolvedTeacher(
        name=teacher.name,
        kind="uploaded",
        source=teacher.key,
        architecture=teacher.architecture,
        image_size=teacher.image_size,
        depth=teacher.depth,
        embed_dim=teacher.embed_dim,
        teacher_id=teacher.id,
        mean=teacher.mean,
        std=teacher.std,
    )


def _usable_dataset(session: Session, principal: Principal, field: str, dataset_id: str) -> Dataset:
    # Locked until the job is stored: a dataset that fails meanwhile must find the job that waits for it.
    try:
        dataset = dataset_queries.lock_dataset(session, dataset_id, principal, shared=True)
    except NotFound as error:
        raise InvalidFields(FieldProblem(field, str(error), input=dataset_id)) from error
    if dataset.state not in USABLE:
        reason = (dataset.error or {}).get("message", "complete its upload first")
        message = f"the dataset is {dataset.state.value}: {reason}"
        raise InvalidFields(FieldProblem(field, message, "a dataset that is ready or ingesting", dataset_id))
    return dataset
