"""How long finished jobs took, by device."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, select, true
from sqlalchemy.orm import Session

from core.models import Job
from core.queries.jobs import devices_of
from core.states import JobState
from core.workload import Timing

MOST_JOBS: Final = 50
"""The latest ones: a machine changes, and so does the code."""


def latest_device(session: Session, kind: str) -> str | None:
    """The device that jobs ran on last; None where none was measured yet.

    Args:
        session: reads.
        kind: ``cpu``, ``cuda``, or ``auto`` for any.
    """
    condition = true() if kind == "auto" else _text("device") == kind
    statement = select(_text("device_name")).where(_measured(), condition).order_by(Job.id.desc()).limit(1)
    return session.scalar(statement)


def list_timings(session: Session, device_name: str, precision: str, devices: int) -> Sequence[Timing]:
    """What the latest jobs on so many of this device took, with the same arithmetic asked for."""
    work, seconds = Job.result["work_gmacs"].as_float(), Job.result["seconds"].as_float()
    statement = (
        select(work, seconds)
        .where(
            _measured(),
            _text("device_name") == device_name,
            Job.options["precision"].as_string() == precision,
            devices_of() == devices,
            seconds > 0,
        )
        .order_by(Job.id.desc())
        .limit(MOST_JOBS)
    )
    return [Timing(*row) for row in session.execute(statement)]


def _measured() -> ColumnElement[bool]:
    """Jobs that say what they computed: those that ran in one piece."""
    return and_(Job.state == JobState.SUCCEEDED, Job.result["work_gmacs"].as_float() > 0)


def _text(name: str) -> ColumnElement[str]:
    text: ColumnElement[str] = Job.result[name].as_string()
    return text
