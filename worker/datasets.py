"""Run one ingest: claim the dataset, supervise its ingester, write what became of it."""

import logging

from pydantic import BaseModel
from sqlalchemy.orm import Session

from core import leases
from core.leases import Claim, IngestResult, JobError
from core.principals import SYSTEM
from core.queries.datasets import get_dataset, list_parts
from core.quotas import images_left
from core.states import DatasetState
from worker.attempt import run_attempt, scratch_folder
from worker.dispatcher import announce
from worker.protocol import IngestSpec, LogMessage, Message, PartRef, ProgressMessage, ResultMessage
from worker.runtime import Runtime

log = logging.getLogger(__name__)


def ingest_dataset(runtime: Runtime, dataset_id: str) -> None:
    """Ingest the dataset if it is to be had; a message that comes late or twice does nothing."""
    if runtime.draining.is_set():
        return
    lease_seconds = runtime.settings.lease_seconds
    claim = runtime.write(lambda s: leases.claim_dataset(s, dataset_id, runtime.worker_id, lease_seconds))
    if claim is None:
        log.debug("dataset %s is not to be had", dataset_id)
        return
    run_attempt(runtime, claim, lambda s: IngestWork(runtime, claim, make_spec(s, claim, runtime)))
    announce(runtime)  # jobs that waited for this dataset need not wait for the dispatcher


def make_spec(session: Session, claim: Claim, runtime: Runtime) -> IngestSpec:
    """Everything that the ingester needs, read from the rows."""
    settings = runtime.settings
    owner = get_dataset(session, claim.id, SYSTEM).owner
    left = images_left(session, settings, owner)
    parts = [
        PartRef(key=part.key, filename=part.filename or f"part {part.number}", sha256=part.sha256)
        for part in list_parts(session, claim.id)
    ]
    return IngestSpec(
        dataset_id=claim.id,
        attempt=claim.attempt,
        parts=parts,
        scratch=scratch_folder(runtime, claim),
        max_images=settings.max_dataset_images if left is None else min(left, settings.max_dataset_images),
        max_pixels=settings.max_image_pixels,
        max_bytes=settings.max_dataset_bytes,
        stored_side=settings.max_stored_side,
    )


class IngestWork:
    """Writes what an ingester reports, each write fenced by the claim."""

    module = "worker.ingester"

    def __init__(self, runtime: Runtime, claim: Claim, spec: IngestSpec) -> None:
        self._runtime, self._claim = runtime, claim
        self.spec: BaseModel = spec

    def report(self, message: Message) -> None:
        """Store how far the ingest is; what else it says before its end is for the service's log."""
        match message:
            case ProgressMessage(progress=progress):
                self._runtime.write(lambda s: leases.record_ingest_progress(s, self._claim, progress))
            case LogMessage():
                log.warning("%s", message.message)
            case _:
                raise AssertionError(f"an ingest says no {message.type}")

    def succeed(self, message: ResultMessage) -> None:
        """The dataset is ready."""
        result = IngestResult(**message.result)
        self._runtime.write(lambda s: leases.complete_ingest(s, self._claim, result))

    def fail(self, error: JobError) -> None:
        """The dataset cannot be used."""
        self._runtime.write(lambda s: leases.fail_dataset(s, self._claim, error))

    def cancel(self) -> None:
        """Nobody can ask for this: a dataset has no cancel."""
        self.release("it was cancelled", charge_attempt=False)

    def release(self, reason: str, charge_attempt: bool) -> None:
        """Give the dataset back for another attempt."""
        most = self._runtime.settings.max_attempts
        state: DatasetState = self._runtime.write(
            lambda s: leases.release_dataset(s, self._claim, reason, charge_attempt, max_attempts=most)
        )
        log.warning("dataset %s is %s: %s", self._claim.id, state.value, reason)

    def abandon(self) -> None:
        """Clean up after an attempt that lost its lease."""
        self._runtime.write(lambda s: leases.abandon_ingest(s, self._claim))
