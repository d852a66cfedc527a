"""Run one job: claim it, supervise its trainer, write what the trainer reports."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from core import leases
from core.broker import send_run_job
from core.catalogue import ResolvedTeacher
from core.leases import Claim, JobError, NewArtifact, NewEvent
from core.options import JobOptions
from core.principals import SYSTEM
from core.queries.datasets import existing_datasets, get_dataset
from core.queries.events import append_events
from core.queries.jobs import get_job
from core.queries.teachers import find_teacher, teacher_hashes
from core.records import Capacity, JsonObject
from core.states import EventLevel, EventType, Phase
from core.tracing import note
from worker.attempt import run_attempt, scratch_folder
from worker.cache import Cache
from worker.fetch import IMAGES, PROBES, TEACHERS
from worker.protocol import (
    CheckpointMessage,
    CheckpointRef,
    DatasetRef,
    JobSpec,
    LogMessage,
    Message,
    PhaseMessage,
    ProgressMessage,
    ResultMessage,
)
from worker.runtime import Runtime

log = logging.getLogger(__name__)
T = TypeVar("T")


def run_next_job(runtime: Runtime) -> None:
    """Run the job whose turn it is; a message that comes late or twice finds none and does nothing."""
    if runtime.draining.is_set():
        return
    settings = runtime.settings
    most, lease_seconds = settings.quota_running_jobs, settings.lease_seconds
    capacity = Capacity(settings.devices, settings.device_bytes)
    claim = runtime.write(
        lambda s: leases.claim_next_job(s, runtime.worker_id, lease_seconds, most, capacity)
    )
    if claim is None:
        log.debug("no job is to be had")
        return
    try:
        run_attempt(runtime, claim, lambda s: JobWork(runtime, claim, make_spec(s, claim, runtime)))
    finally:
        if not runtime.draining.is_set():
            runtime.spares.refill()
    # The message of a job that had to wait for this one to end was spent while it waited.
    waiting = runtime.write(lambda s: leases.next_job(s, most, capacity))
    if waiting is not None:
        send_run_job(runtime.celery, waiting.id, waiting.device_bytes)
    drop_deleted(runtime)


def cache_folder(runtime: Runtime) -> Path:
    """Where this machine keeps its copies of datasets and teachers."""
    return runtime.settings.data_dir.resolve() / "cache"


def drop_deleted(runtime: Runtime) -> None:
    """Remove this machine's copies of datasets and teachers that were deleted."""
    cache = Cache(cache_folder(runtime), runtime.settings.cache_bytes)
    copies = {kind: cache.names(kind) for kind in (IMAGES, PROBES, TEACHERS)}
    with runtime.database.read() as session:
        datasets = existing_datasets(session, {*copies[IMAGES], *copies[PROBES]})
        teachers = {f"{sha256}.safetensors" for sha256 in teacher_hashes(session)}
    live = {IMAGES: datasets, PROBES: datasets, TEACHERS: teachers}
    for kind, names in copies.items():
        for name in set(names) - live[kind]:
            cache.discard(kind, name)


def make_spec(session: Session, claim: Claim, runtime: Runtime) -> JobSpec:
    """Everything that the trainer needs, read from the rows."""
    settings = runtime.settings
    job = get_job(session, claim.id, SYSTEM)
    teacher = ResolvedTeacher.model_validate(job.teacher)
    options = JobOptions.model_validate(job.options)
    if options.device == "auto":
        options = options.model_copy(update={"device": settings.device})
    uploaded = find_teacher(session, teacher.teacher_id, SYSTEM) if teacher.teacher_id else None
    return JobSpec(
        job_id=job.id,
        attempt=claim.attempt,
        teacher=teacher,
        teacher_sha256=uploaded.sha256 if uploaded else None,
        options=options,
        dataset=_reference(session, job.dataset_id),
        probe=_reference(session, job.probe_dataset_id) if job.probe_dataset_id else None,
        checkpoints=_checkpoints(job.checkpoint),
        scratch=scratch_folder(runtime, claim),
        cache=cache_folder(runtime),
        cache_bytes=settings.cache_bytes,
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def _checkpoints(recorded: JsonObject | None) -> list[CheckpointRef]:
    """The newest, and the one before it."""
    newest = recorded or {}
    return [CheckpointRef.model_validate(each) for each in (newest, newest.get("previous")) if each]


def _reference(session: Session, dataset_id: str) -> DatasetRef:
    dataset = get_dataset(session, dataset_id, SYSTEM)
    assert dataset.report_key is not None, "a claimable job's datasets are ready"
    return DatasetRef(id=dataset.id, report_key=dataset.report_key)


class JobWork:
    """Writes what a job's trainer reports, each write fenced by the claim."""

    module = "worker.trainer"

    def __init__(self, runtime: Runtime, claim: Claim, spec: JobSpec) -> None:
        self._runtime, self._claim = runtime, claim
        self._checkpoints = spec.checkpoints
        self.spec: BaseModel = spec

    def report(self, message: Message) -> None:
        """Store a message from the middle of the work."""
        match message:
            case PhaseMessage():
                note("phase", phase=message.phase.value)
                if message.phase is Phase.MERGING:
                    self._runtime.spares.refill()
                self._write(lambda s: leases.set_phase(s, self._claim, message.phase))
            case ProgressMessage():
                self._write(
                    lambda s: leases.record_progress(s, self._claim, message.progress, _events(message))
                )
            case CheckpointMessage():
                self._keep_checkpoints(message)
            case LogMessage():
                self._write(lambda s: self._log(s, message))

    def succeed(self, message: ResultMessage) -> None:
        """Publish the files with the success, in one transaction."""
        artifacts = [NewArtifact(**artifact.model_dump()) for artifact in message.artifacts]
        self._write(lambda s: leases.succeed(s, self._claim, message.result, artifacts))

    def fail(self, error: JobError) -> None:
        """End the job; its checkpoint stays for a retry."""
        self._write(lambda s: leases.fail(s, self._claim, error))

    def cancel(self) -> None:
        """End the job because its owner asked for it; its checkpoint stays for a retry."""
        self._write(lambda s: leases.cancelled(s, self._claim))

    def release(self, reason: str, charge_attempt: bool) -> None:
        """Give the job back for another attempt."""
        most = self._runtime.settings.max_attempts
        state = self._write(
            lambda s: leases.release(s, self._claim, reason, charge_attempt, max_attempts=most)
        )
        log.warning("job %s is %s: %s", self._claim.id, state.value, reason)

    def abandon(self) -> None:
        """Clean up after an attempt that lost its lease; the row and its checkpoint are another's now."""
        self._write(lambda s: leases.abandon_attempt(s, self._claim))

    def _log(self, session: Session, message: LogMessage) -> None:
        # Renewing is what fences this write.
        leases.renew(session, self._claim, self._runtime.settings.lease_seconds)
        event = NewEvent(EventType.LOG, message.message, {}, EventLevel(message.level))
        append_events(session, self._claim.id, self._claim.attempt, [event])

    def _keep_checkpoints(self, message: CheckpointMessage) -> None:
        """Record a stored checkpoint, then drop those that are of no use any more: the row names what is kept."""
        old, kept = self._checkpoints, [each for each in (message.checkpoint, message.previous) if each]
        newest = message.checkpoint.model_dump()
        previous = None if message.previous is None else message.previous.model_dump()
        unused = {each.key for each in old} - {each.key for each in kept}
        self._write(lambda s: leases.record_checkpoint(s, self._claim, newest, previous, unused))
        self._checkpoints = kept

    def _write(self, change: Callable[[Session], T]) -> T:
        return self._runtime.write(change)


def _events(message: ProgressMessage) -> list[NewEvent]:
    if not message.is_metric:
        return []
    progress = message.progress
    text = f"Step {progress['step']} of {progress['total_steps']}, loss {progress['loss']:.4f}."
    data = {name: progress[name] for name in ("step", "epoch", "loss", "lr", "images_per_second")}
    return [NewEvent(EventType.METRIC, text, data)]
