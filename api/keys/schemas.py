"""Bodies of the key endpoints."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.datasets.schemas import Name
from core.models import ApiKey
from core.principals import OWNER_PATTERN, OWNER_WORDS, Scope

OwnerName = Annotated[str, Field(pattern=OWNER_PATTERN.pattern, description=f"A name: {OWNER_WORDS}.")]


class KeyCreate(BaseModel):
    """A new key."""

    model_config = ConfigDict(extra="forbid")

    name: Name = Field(description="What it is for.", examples=["laptop"])
    owner: OwnerName | None = Field(
        None, description="To whom belongs what is made with the key; unset: as with the key of this request."
    )
    scope: Scope = Field(Scope.WRITE, description="`admin` includes `write`, which includes `read`.")
    expires_at: AwareDatetime | None = Field(None, description="Unset: never.")


class KeyOut(BaseModel):
    """A key, without what makes it one."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    owner: str
    name: str
    scope: Scope
    prefix: str = Field(description="What the key begins with.", examples=["wcl_1f0c7a92be"])
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyOut":
        """The public view of a row."""
        return cls.model_validate(key)


class KeyCreated(KeyOut):
    """A key as it is shown this one time."""

    key: str = Field(description="Keep it: the service stores only its hash.")


class KeyList(BaseModel):
    """A page of keys, newest first."""

    data: list[KeyOut]
    has_more: bool
    next_cursor: str | None
