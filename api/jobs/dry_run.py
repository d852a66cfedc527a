"""`POST /jobs?dry_run=true`: everything checked as for a job, what it would come to, and nothing stored."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api.jobs.schemas import DatasetId, JobRequest, ProbeIn
from api.jobs.service import Plan, plan_job, usable_dataset
from api.resources import Resources
from core.costs import NetworkCounts, blocks_of_stages, trained_parameters
from core.kept_blocks import are_known
from core.models import Dataset
from core.principals import Principal
from core.queries.timings import latest_device, list_timings
from core.quotas import check_new_job
from core.workload import count_work, estimate_seconds, plan_course

OTHER_NETWORKS: Final = frozenset({"deit", "minivit", "dmae"})
"""Methods whose student is no cut of the teacher: it has further tokens, shares weights, or comes with a decoder."""


class DryRunRequest(JobRequest):
    """A job that is not to be started; its images may be still to come."""

    dataset_id: DatasetId | None = None
    probe: ProbeIn | None = None


class NetworkOut(BaseModel):
    """What a network is and costs."""

    model_config = ConfigDict(from_attributes=True)

    depth: int = Field(description="Blocks, all stages together.")
    parameters: int | None
    gmacs: float | None = Field(description="10⁹ multiply-accumulates of one image.")
    size_bytes: int | None = Field(
        description="Of all tensors in float32; a file has some kilobytes of names beside."
    )


class StudentOut(NetworkOut):
    """The student as it would be delivered."""

    blocks: list[int] = Field(description="Kept blocks of the teacher, counted from 0.")
    blocks_are_final: bool = Field(
        description="False where the images decide: the choice begins with these blocks, as many will be kept."
    )
    trainable_parameters: int | None = Field(description="What the training would change.")


class Duration(BaseModel):
    """How long the job would run, by what finished jobs on the same device took."""

    seconds: float
    device_name: str
    jobs: int = Field(description="Finished jobs that this was computed from.")


class DryRun(BaseModel):
    """What a job would come to."""

    name: str | None
    teacher: dict[str, Any]
    method: str
    recipe: str
    r: int
    k: int
    given: dict[str, Any]
    options: dict[str, Any]
    teacher_network: NetworkOut
    student_network: StudentOut
    images: int | None = Field(description="That would be used.")
    batch_size: int | None
    steps: int | None = Field(description="Of the optimiser.")
    device_bytes: int | None = Field(description="Memory that the job would need on a device, about.")
    duration: Duration | None
    unknown: dict[str, str] = Field(description="For each number that is null: why.")


def dry_run(session: Session, resources: Resources, principal: Principal, request: DryRunRequest) -> DryRun:
    """Plan a job and say what it would come to.

    Raises:
        ServiceError: what creating the job would raise.
    """
    plan = plan_job(session, resources, principal, request)
    dataset = _dataset(session, principal, "dataset_id", request.dataset_id)
    probe_id = request.probe.dataset_id if request.probe else None
    probe = _dataset(session, principal, "probe.dataset_id", probe_id)
    check_new_job(session, resources.settings, principal.owner)
    unknown: dict[str, str] = {}
    teacher, student = _count(plan, unknown)
    images = dataset.image_count if dataset else None
    course = plan_course(plan.options, images) if images else None
    if course is None:
        reason = "no dataset is named" if dataset is None else "the images are still being read"
        unknown |= dict.fromkeys(("images", "batch_size", "steps", "duration"), reason)
    duration = None
    if course is not None and teacher is not None and student is not None:
        probe_images = (probe.image_count if probe else None) or 0
        work = count_work(
            plan.options,
            course.images,
            teacher.gmacs,
            student.gmacs,
            kept=len(plan.kept),
            probe_images=probe_images,
        )
        duration = _estimate(session, resources, plan, work, unknown)
    elif course is not None:
        unknown["duration"] = "the student's multiply-accumulates are unknown"
    return DryRun(
        name=plan.name,
        teacher=plan.teacher.model_dump(mode="json"),
        given=plan.given,
        options=plan.options.model_dump(mode="json"),
        **{name: getattr(plan.options, name) for name in ("method", "recipe", "r", "k")},
        teacher_network=_network(plan.teacher.depth, teacher),
        student_network=_student(plan, student, unknown),
        images=course.images if course else None,
        batch_size=course.batch_size if course else None,
        steps=course.steps if course else None,
        device_bytes=plan.device_bytes,
        duration=duration,
        unknown=unknown,
    )


def _dataset(session: Session, principal: Principal, field: str, dataset_id: str | None) -> Dataset | None:
    return None if dataset_id is None else usable_dataset(session, principal, field, dataset_id)


def _count(plan: Plan, unknown: dict[str, str]) -> tuple[NetworkCounts | None, NetworkCounts | None]:
    """Teacher and student, as far as the catalogue knows their architecture and the method keeps it."""
    numbers = ("parameters", "gmacs", "size_bytes")
    network, size = plan.network, plan.options.image_size
    if network is None:
        reason = f"the catalogue has no counts of {plan.teacher.architecture}"
        unknown["device_bytes"] = reason
        unknown |= {f"{which}_network.{name}": reason for which in ("teacher", "student") for name in numbers}
        return None, None
    teacher = network.count(network.stages, size)
    if plan.options.method in OTHER_NETWORKS:
        reason = f"method {plan.options.method} trains another network than a part of the teacher"
        unknown |= {f"student_network.{name}": reason for name in numbers}
        return teacher, None
    return teacher, network.count(blocks_of_stages(network.stages, plan.kept), size)


def _network(depth: int, counts: NetworkCounts | None) -> NetworkOut:
    if counts is None:
        return NetworkOut(depth=depth, parameters=None, gmacs=None, size_bytes=None)
    return NetworkOut(
        depth=depth, parameters=counts.parameters, gmacs=counts.gmacs, size_bytes=counts.size_bytes
    )


def _student(plan: Plan, counts: NetworkCounts | None, unknown: dict[str, str]) -> StudentOut:
    trained = None if counts is None else trained_parameters(plan.options, counts)
    if trained is None:
        reason = unknown.get(
            "student_network.parameters", "every parameter that the loss depends on is trained"
        )
        unknown["student_network.trainable_parameters"] = reason
    return StudentOut(
        **_network(len(plan.kept), counts).model_dump(),
        blocks=plan.kept,
        blocks_are_final=are_known(plan.options),
        trainable_parameters=trained,
    )


def _estimate(
    session: Session, resources: Resources, plan: Plan, work_gmacs: float, unknown: dict[str, str]
) -> Duration | None:
    kind = plan.options.device if plan.options.device != "auto" else resources.settings.device
    device = latest_device(session, kind)
    options = plan.options
    timings = list_timings(session, device, options.precision or "auto", options.devices) if device else []
    if device is None or not timings:
        where = "on this kind of device" if device is None else f"on {device}, in this precision"
        unknown["duration"] = f"no job has finished {where} yet"
        return None
    seconds = round(estimate_seconds(work_gmacs, timings), 1)
    return Duration(seconds=seconds, device_name=device, jobs=len(timings))
