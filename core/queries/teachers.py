"""Queries on `teachers`."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Teacher
from core.principals import Principal
from core.queries.paging import ListFilter


def find_teacher(session: Session, teacher_id: str, viewer: Principal) -> Teacher | None:
    """An uploaded teacher, if there is one in sight."""
    teacher = session.get(Teacher, teacher_id)
    return teacher if teacher is not None and viewer.may_see(teacher.owner) else None


def lock_teacher(
    session: Session, teacher_id: str, viewer: Principal, *, shared: bool = False
) -> Teacher | None:
    """An uploaded teacher, if there is one in sight, which stays until this transaction ends."""
    statement = select(Teacher).where(Teacher.id == teacher_id).with_for_update(read=shared)
    teacher = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    return teacher if teacher is not None and viewer.may_see(teacher.owner) else None


def named_teachers(session: Session, name: str, owner: str) -> Sequence[str]:
    """Ids of an owner's uploaded teachers of that name, newest first."""
    statement = select(Teacher.id).where(Teacher.name == name, Teacher.owner == owner)
    return session.scalars(statement.order_by(Teacher.id.desc())).all()


def list_teachers(session: Session, wanted: ListFilter) -> Sequence[Teacher]:
    """Uploaded teachers, newest first."""
    statement = select(Teacher).where(wanted.on(Teacher.owner))
    return session.scalars(statement.order_by(Teacher.id.desc())).all()


def teacher_hashes(session: Session) -> Sequence[str]:
    """The sha256 of every uploaded teacher."""
    return session.scalars(select(Teacher.sha256)).all()
