"""Queries on `teachers`."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Teacher


def find_teacher(session: Session, teacher_id: str) -> Teacher | None:
    """An uploaded teacher, if there is one."""
    return session.get(Teacher, teacher_id)


def list_teachers(session: Session) -> Sequence[Teacher]:
    """Uploaded teachers, newest first."""
    return session.scalars(select(Teacher).order_by(Teacher.id.desc())).all()
