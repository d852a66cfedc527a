"""Queries on `artifacts`. A row exists only for a job that succeeded."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Artifact, Job
from core.states import JobState


def list_artifacts(session: Session, job_id: str) -> Sequence[Artifact]:
    """The files of a succeeded job, by name; none for any other."""
    statement = (
        select(Artifact)
        .join(Job, Job.id == Artifact.job_id)
        .where(Artifact.job_id == job_id, Job.state == JobState.SUCCEEDED)
        .order_by(Artifact.name)
    )
    return session.scalars(statement).all()


def find_artifact(session: Session, job_id: str, name: str) -> Artifact | None:
    """One file of a succeeded job."""
    return next((artifact for artifact in list_artifacts(session, job_id) if artifact.name == name), None)
