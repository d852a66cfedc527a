"""The right to work on a row, and every write that needs it.

A worker claims a waiting row and gets a `Claim` whose `attempt` no other holder ever has. Each later write
names that attempt and changes nothing when it is no longer the row's own: then `LeaseLost` is raised and the
whole transaction is undone. A lease that ran out but that nobody took away may still be renewed: a laptop
that slept goes on.

Every function takes the session first and belongs in one `with database.write() as session:` of its own.
"""

from core.leases.datasets import (
    abandon_ingest,
    claim_dataset,
    complete_ingest,
    due_datasets,
    fail_dataset,
    reap_expired_datasets,
    record_ingest_progress,
    release_dataset,
)
from core.leases.fence import mark_sent, renew
from core.leases.jobs import (
    abandon_attempt,
    cancelled,
    claim_job,
    fail,
    record_checkpoint,
    record_progress,
    release,
    set_phase,
    succeed,
)
from core.leases.recovery import due_jobs, reap_expired
from core.leases.turns import claim_next_job, next_job
from core.records import Claim, IngestResult, JobError, NewArtifact, NewEvent

__all__ = [
    "Claim",
    "IngestResult",
    "JobError",
    "NewArtifact",
    "NewEvent",
    "abandon_attempt",
    "abandon_ingest",
    "cancelled",
    "claim_dataset",
    "claim_job",
    "claim_next_job",
    "complete_ingest",
    "due_datasets",
    "due_jobs",
    "fail",
    "fail_dataset",
    "mark_sent",
    "next_job",
    "reap_expired",
    "reap_expired_datasets",
    "record_checkpoint",
    "record_ingest_progress",
    "record_progress",
    "release",
    "release_dataset",
    "renew",
    "set_phase",
    "succeed",
]
