"""The rules of creating a job. Everything is checked before anything is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.jobs.schemas import JobCreate, JobRequest
from api.resources import Resources
from api.validation import parse_fields
from core.catalogue import Catalogue, NetworkShape, ResolvedTeacher
from core.costs import KnownNetwork
from core.device_memory import check_device_memory, needed_bytes
from core.errors import FieldProblem, InvalidFields, NotFound, UnknownTeacher, WrongState
from core.ids import new_id
from core.kept_blocks import kept_blocks
from core.leases import mark_sent
from core.models import Dataset, Job, Teacher
from core.options import (
    DEFAULT_LORA_RANK,
    JobOptions,
    TeacherLimits,
    allowed_by_teacher,
    check_against_teacher,
    check_devices,
)
from core.principals import SYSTEM, Principal
from core.queries import audit
from core.queries import datasets as dataset_queries
from core.queries import jobs as job_queries
from core.queries.teachers import lock_teacher, named_teachers
from core.quotas import check_new_job
from core.recipes import check_combinations, complete_options, given_options
from core.states import RETRYABLE, DatasetState

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
        kept: blocks of the teacher that the student keeps; for policy `measured` those that the choice begins with.
        network: what is known of the teacher's cost.
        device_bytes: memory that it needs on a device, about; None where that is not known.
    """

    principal: Principal
    name: str | None
    teacher: ResolvedTeacher
    given: dict[str, Any]
    options: JobOptions
    kept: list[int]
    network: KnownNetwork | None
    device_bytes: int | None


@dataclass(frozen=True)
class _Found:
    """The teacher that a request names."""

    teacher: ResolvedTeacher
    limits: TeacherLimits
    stages: tuple[int, ...]
    network: KnownNetwork | None


def plan_job(session: Session, resources: Resources, principal: Principal, request: JobRequest) -> Plan:
    """Resolve the teacher, complete the options, and check them against it and against each other.

    Raises:
        UnknownTeacher: suggests the nearest names.
        UnsupportedTeacher: says why.
        InvalidFields: names every option at fault and its range.
    """
    found = _resolve_teacher(session, resources.catalogue, principal, request.teacher)
    given = given_options(request)
    options = complete_options(given, min(DEFAULT_LORA_RANK, found.limits.max_lora_rank))
    problems = [
        *check_combinations(options),
        *check_against_teacher(options, found.limits),
        *check_devices(options, resources.settings.devices),
    ]
    if problems:
        raise InvalidFields(*problems)
    kept = kept_blocks(found.stages, options)
    needed = None if found.network is None else needed_bytes(options, found.network, kept)
    if problems := check_device_memory(needed, resources.settings.device_bytes):
        raise InvalidFields(*problems)
    return Plan(principal, request.name, found.teacher, given, options, kept, found.network, needed)


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
            limits = _resolve_teacher(session, catalogue, principal, str(values.get("teacher"))).limits
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
    plan = plan_job(session, resources, principal, request)
    probe_id = request.probe.dataset_id if request.probe else None
    dataset = usable_dataset(session, principal, "dataset_id", request.dataset_id)
    probe = usable_dataset(session, principal, "probe.dataset_id", probe_id) if probe_id else None
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
        device_bytes=plan.device_bytes,
    )
    job_queries.add_job(session, job)
    audit.record(session, plan.principal, "job.create", job.id)
    return job


def retry_job(session: Session, resources: Resources, principal: Principal, job_id: str) -> tuple[Job, bool]:
    """Queue a failed or cancelled job again, as the same job.

    Returns:
        The job, and whether workers could start it now.

    Raises:
        InvalidFields: it asks for more devices, or more memory on one, than there is now.
        WrongState: the job is neither; or what it is made of cannot be had any more.
        TooManyRequests: the owner has no room for another waiting job.
    """
    job = job_queries.lock_job(session, job_id, principal)
    if job.state in RETRYABLE:
        settings = resources.settings
        problems = [
            *check_devices(JobOptions.model_validate(job.options), settings.devices),
            *check_device_memory(job.device_bytes, settings.device_bytes),
        ]
        if problems:
            raise InvalidFields(*problems)
        check_new_job(session, resources.settings, job.owner)
    job_queries.requeue(session, job)
    datasets = [
        _dataset_to_retry(session, each)
        for each in (job.dataset_id, job.probe_dataset_id)
        if each is not None
    ]
    teacher_id = job.teacher.get("teacher_id")
    if teacher_id and lock_teacher(session, teacher_id, SYSTEM, shared=True) is None:
        raise WrongState("teacher", teacher_id, "deleted", "there")
    audit.record(session, principal, "job.retry", job.id)
    is_ready = all(dataset.state is DatasetState.READY for dataset in datasets)
    if is_ready:
        mark_sent(session, "job", [job.id])
    return job, is_ready


def _dataset_to_retry(session: Session, dataset_id: str) -> Dataset:
    needed = " or ".join(sorted(USABLE))
    try:
        dataset = dataset_queries.lock_dataset(session, dataset_id, SYSTEM, shared=True)
    except NotFound as error:
        raise WrongState("dataset", dataset_id, "deleted", needed) from error
    if dataset.state not in USABLE:
        raise WrongState("dataset", dataset_id, dataset.state, needed)
    return dataset


def _resolve_teacher(session: Session, catalogue: Catalogue, principal: Principal, name: str) -> _Found:
    teacher_id = _uploaded_as(session, catalogue, principal, name)
    if teacher_id is None:
        entry = catalogue.find_teacher(name)
        teacher, parameters = entry.resolve(), entry.parameters
        shape: NetworkShape = entry
    else:
        # Locked until the job is stored: a teacher that is deleted meanwhile must find the job that needs it.
        uploaded = lock_teacher(session, teacher_id, principal, shared=True)
        if uploaded is None:
            raise UnknownTeacher(FieldProblem("teacher", f"there is no uploaded teacher {name}", input=name))
        teacher, parameters = resolve_uploaded(uploaded), uploaded.parameters
        shape = catalogue.find_architecture(uploaded.architecture)
    network = catalogue.known_network(teacher, parameters)
    return _Found(teacher, shape.limits(teacher.image_size), shape.depths, network)


def _uploaded_as(session: Session, catalogue: Catalogue, principal: Principal, name: str) -> str | None:
    """The id of the user's own teacher that is meant; None where the catalogue has that name, or nobody.

    Raises:
        UnknownTeacher: several have that name.
    """
    if name.startswith(UPLOADED_PREFIX):
        return name
    if catalogue.known_teacher(name) is not None:
        return None
    ids = named_teachers(session, name, principal.owner)
    if len(ids) > 1:
        message = f"{len(ids)} uploaded teachers are called {name!r}; give the id of one"
        raise UnknownTeacher(FieldProblem("teacher", message, ", ".join(ids), name))
    return ids[0] if ids else None


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


def usable_dataset(session: Session, principal: Principal, field: str, dataset_id: str) -> Dataset:
    """The dataset that a field names, if a job could use it or wait for it.

    Raises:
        InvalidFields: names the field and what the dataset lacks.
    """
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
