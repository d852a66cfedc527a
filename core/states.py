"""The states of datasets and jobs and the moves between them, as data."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class DatasetState(StrEnum):
    """Life of a dataset."""

    UPLOADING = "uploading"
    INGESTING = "ingesting"
    READY = "ready"
    FAILED = "failed"


class JobState(StrEnum):
    """Life of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    """Life of a webhook's delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Phase(StrEnum):
    """What a running job is doing; `preparing`: reading the images, choosing and refitting blocks."""

    FETCHING = "fetching"
    PREPARING = "preparing"
    DISTILLING = "distilling"
    MERGING = "merging"
    PROBING = "probing"
    EXPORTING = "exporting"
    PUBLISHING = "publishing"


class EventType(StrEnum):
    """Kinds of job events; also the `event:` field of the stream."""

    STATE = "state"
    PHASE = "phase"
    PROGRESS = "progress"
    METRIC = "metric"
    LOG = "log"
    ARTIFACT = "artifact"
    ATTEMPT = "attempt"


class EventLevel(StrEnum):
    """How serious an event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LEGAL: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        # queued → failed: the dataset it waits for could not be read.
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
        # running → queued: the worker died or was told to stop; another one resumes.
        JobState.RUNNING: frozenset(
            {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED},
        ),
        JobState.SUCCEEDED: frozenset(),
        # … → queued: its owner asks for another try.
        JobState.FAILED: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset({JobState.QUEUED}),
    }
)

LEGAL_DATASET: Mapping[DatasetState, frozenset[DatasetState]] = MappingProxyType(
    {
        DatasetState.UPLOADING: frozenset({DatasetState.INGESTING}),
        DatasetState.INGESTING: frozenset({DatasetState.READY, DatasetState.FAILED}),
        DatasetState.READY: frozenset(),
        DatasetState.FAILED: frozenset(),
    }
)

COUNTING = frozenset({Phase.PREPARING, Phase.DISTILLING})
"""Phases that have a progress of their own, which begins anew with the phase."""

TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""States in which a job stays unless its owner does something."""

RETRYABLE = frozenset(state for state in TERMINAL if JobState.QUEUED in LEGAL[state])
"""States from which the owner may ask for another try."""


def sources(target: JobState) -> frozenset[JobState]:
    """The states from which a job may become `target`."""
    return frozenset(state for state, following in LEGAL.items() if target in following)
