"""Bodies of the audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.models import AuditEntry


class AuditEntryOut(BaseModel):
    """One change."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    created_at: datetime
    owner: str = Field(description="Whose key was used.")
    key_id: str | None = Field(
        description="null: no key was asked for, or a command on the service's machine."
    )
    address: str | None = Field(description="From where the request came.")
    action: str = Field(examples=["job.create"])
    target: str = Field(description="The id of what was changed.")
    detail: dict[str, Any] | None

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditEntryOut":
        """The public view of a row."""
        return cls.model_validate(entry)


class AuditList(BaseModel):
    """A page of entries, newest first."""

    data: list[AuditEntryOut]
    has_more: bool
    next_cursor: str | None
