"""The outbox: an event is stored in the transaction of the change that it tells of.

So none is lost, and none is made for a change that was rolled back. It costs one statement, which stores nothing
where the owner has no endpoint.
"""

from sqlalchemy import exists, insert, literal, select
from sqlalchemy.orm import Session

from core import clock
from core.ids import new_id
from core.model_base import JsonColumn
from core.models import Webhook, WebhookEvent
from core.records import JsonObject
from core.states import DatasetState, JobState
from core.webhooks.events import OF_JOB_STATE, WebhookEventType


def tell_of_job(
    session: Session, owner: str, job_id: str, state: JobState, attempt: int, error: JsonObject | None
) -> None:
    """Tell the owner's endpoints of a job's move to `state`, if that is anybody's news."""
    kind = OF_JOB_STATE.get(state)
    if kind is not None:
        data = {"id": job_id, "state": state.value, "attempt": attempt, "error": _code(error)}
        _store(session, owner, kind, data)


def tell_of_dataset(
    session: Session, owner: str, dataset_id: str, state: DatasetState, error: JsonObject | None = None
) -> None:
    """Tell the owner's endpoints that a dataset is ready or failed."""
    kind = WebhookEventType(f"dataset.{state.value}")
    _store(session, owner, kind, {"id": dataset_id, "state": state.value, "error": _code(error)})


def _code(error: JsonObject | None) -> str | None:
    return None if error is None else str(error["code"])


def _store(session: Session, owner: str, kind: WebhookEventType, data: JsonObject) -> None:
    wanted = exists(select(Webhook.id).where(Webhook.owner == owner, Webhook.active))
    values = select(
        literal(new_id("evt")),
        literal(owner),
        literal(kind.value),
        literal(data, JsonColumn),
        clock.now(),
        literal(False),
    ).where(wanted)
    columns = ["id", "owner", "type", "data", "created_at", "is_spread"]
    session.execute(insert(WebhookEvent).from_select(columns, values))
