"""What an operator watches, out of the rows: how much waits, who holds what, how fast it goes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from core import clock
from core.broker import DATASETS_QUEUE, JOB_QUEUES
from core.leases.jobs import datasets_ready
from core.model_base import Deletable
from core.models import Dataset, Job, JobEvent, Webhook, WebhookDelivery
from core.records import JsonObject
from core.states import DatasetState, DeliveryState, EventType, JobState, Phase

WINDOW_SECONDS = 3600
MOST_JOBS = 1000
"""Of the last hour, so that a scrape stays quick."""


@dataclass(frozen=True)
class Numbers:
    """One look at the rows; ages are by the database's clock."""

    jobs: Mapping[str, int]
    datasets: Mapping[str, int]
    waiting: Mapping[str, int]
    oldest_waiting_seconds: Mapping[str, float]
    leases: Mapping[str, int]
    lease_age_seconds: Mapping[str, float]
    phases: Mapping[str, int]
    images_per_second: float
    gpu_memory_bytes: Mapping[str, float]
    phase_seconds: Mapping[str, float]
    phase_ends: Mapping[str, int]
    deliveries: Mapping[str, int]
    oldest_due_delivery_seconds: float
    webhooks: Mapping[str, int]


@dataclass(frozen=True)
class _Running:
    """What a running job's row says of it."""

    phase: Phase | None
    progress: JsonObject | None
    worker_id: str | None


def count_numbers(session: Session) -> Numbers:
    """Everything, in a handful of queries whose cost does not grow with finished jobs' events."""
    now = session.execute(select(clock.now())).scalar_one()
    waiting = {
        **_waiting_jobs(session),
        DATASETS_QUEUE: _count_and_oldest(
            session, Dataset, Dataset.state == DatasetState.INGESTING, Dataset.worker_id.is_(None)
        ),
    }
    held = {
        "job": _count_and_oldest(session, Job, Job.state == JobState.RUNNING, by=Job.heartbeat_at),
        "dataset": _count_and_oldest(
            session, Dataset, Dataset.worker_id.is_not(None), by=Dataset.heartbeat_at
        ),
    }  # fmt: skip
    working = select(Job.phase, Job.progress, Job.worker_id).where(Job.state == JobState.RUNNING)
    running = [_Running(*row) for row in session.execute(working)]
    seconds, ends = _time_phases(session)
    return Numbers(
        jobs=_by_state(session, Job, JobState),
        datasets=_by_state(session, Dataset, DatasetState),
        waiting={name: count for name, (count, _) in waiting.items()},
        oldest_waiting_seconds=_ages(now, waiting),
        leases={name: count for name, (count, _) in held.items()},
        lease_age_seconds=_ages(now, held),
        phases=_by_phase(running),
        images_per_second=sum((_progress(job, "images_per_second") for job in running), 0.0),
        gpu_memory_bytes=_gpu_memory(running),
        phase_seconds=seconds,
        phase_ends=ends,
        deliveries=_by_state(session, WebhookDelivery, DeliveryState),
        oldest_due_delivery_seconds=_oldest_due_delivery(session),
        webhooks=_webhooks(session),
    )


def _by_state(
    session: Session,
    model: type[Job | Dataset | WebhookDelivery],
    states: type[JobState | DatasetState | DeliveryState],
) -> dict[str, int]:
    statement = select(model.state, func.count()).group_by(model.state)
    if issubclass(model, Deletable):
        statement = statement.where(model.deleted_at.is_(None))
    counted = session.execute(statement).all()
    return {state.value: 0 for state in states} | {state.value: count for state, count in counted}


def _count_and_oldest(
    session: Session, model: type[Job | Dataset], *conditions: ColumnElement[bool], by: Any = None
) -> tuple[int, datetime | None]:
    oldest = func.min(model.created_at if by is None else by)
    count, first = session.execute(select(func.count(), oldest).select_from(model).where(*conditions)).one()
    return count, first


def _waiting_jobs(session: Session) -> dict[str, tuple[int, datetime | None]]:
    """Jobs that could run now, and since when the oldest exists, by the queue that they are announced in."""
    needed = func.coalesce(Job.device_bytes, 0)
    larger_first = sorted(JOB_QUEUES.items(), key=lambda each: -each[1])
    queue = case(*((needed >= least, name) for name, least in larger_first))
    counted = session.execute(
        select(queue, func.count(), func.min(Job.created_at))
        .where(Job.state == JobState.QUEUED, datasets_ready())
        .group_by(queue)
    )
    nothing: tuple[int, datetime | None] = (0, None)
    return dict.fromkeys(JOB_QUEUES, nothing) | {name: (count, oldest) for name, count, oldest in counted}


def _ages(now: datetime, counted: Mapping[str, tuple[int, datetime | None]]) -> dict[str, float]:
    return {
        name: 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)
        for name, (_, oldest) in counted.items()
    }


def _oldest_due_delivery(session: Session) -> float:
    """For how long the delivery that should have been sent first has been due, of endpoints that are active."""
    overdue = clock.seconds_between(func.min(WebhookDelivery.next_attempt_at), clock.now())
    statement = (
        select(overdue).join(Webhook).where(WebhookDelivery.state == DeliveryState.PENDING, Webhook.active)
    )
    return max(session.scalar(statement) or 0.0, 0.0)


def _webhooks(session: Session) -> dict[str, int]:
    """Endpoints by whether they are told, were switched off by their owner, or disabled for failing."""
    state = case(
        (Webhook.active, "active"), (Webhook.disabled_reason.is_not(None), "disabled"), else_="inactive"
    )
    counted = session.execute(select(state, func.count()).group_by(state)).all()
    return dict.fromkeys(("active", "inactive", "disabled"), 0) | dict(map(tuple, counted))


def _by_phase(running: Sequence[_Running]) -> dict[str, int]:
    counts = {phase.value: 0 for phase in Phase}
    for job in running:
        if job.phase is not None:
            counts[job.phase.value] += 1
    return counts


def _progress(job: _Running, name: str) -> float:
    """A number that the trainer reported while it was in this phase."""
    value = (job.progress or {}).get(name) if job.phase is Phase.DISTILLING else None
    return float(value or 0)


def _gpu_memory(running: Sequence[_Running]) -> dict[str, float]:
    """Used bytes by worker; a worker that trains on the processor has none."""
    used = {job.worker_id: _progress(job, "gpu_memory_bytes") for job in running if job.worker_id}
    return {worker: value for worker, value in used.items() if value}


def _time_phases(session: Session) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds in each phase, and how many times it ended, of jobs that ended lately."""
    lately = (
        select(Job.id)
        .where(Job.finished_at >= clock.now_plus(-WINDOW_SECONDS))
        .order_by(Job.finished_at.desc())
        .limit(MOST_JOBS)
    )
    events = session.execute(
        select(JobEvent.job_id, JobEvent.type, JobEvent.created_at, JobEvent.data)
        .where(JobEvent.job_id.in_(lately), JobEvent.type.in_((EventType.PHASE, EventType.STATE)))
        .order_by(JobEvent.job_id, JobEvent.seq)
    ).all()
    seconds: dict[str, float] = defaultdict(float)
    ends: dict[str, int] = defaultdict(int)
    for _, of_job in groupby(events, lambda event: event.job_id):
        listed = list(of_job)
        for event, following in pairwise(listed):
            if event.type is EventType.PHASE:
                phase = event.data["phase"]
                seconds[phase] += (following.created_at - event.created_at).total_seconds()
                ends[phase] += 1
    return dict(seconds), dict(ends)
