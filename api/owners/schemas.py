"""Bodies of the owner endpoints."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from core.models import Owner
from core.principals import Scope
from core.queries.owners import usage_of
from core.quotas import quotas_of
from core.settings import Settings

Amount = Annotated[int | None, Field(ge=0, le=2**53, description="null: the deployment's number.")]
Number = Annotated[int | None, Field(ge=0, le=2**31 - 1, description="null: the deployment's number.")]


class QuotasIn(BaseModel):
    """An owner's own numbers; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    bytes: Amount = None
    images: Amount = None
    running_jobs: Number = None
    queued_jobs: Number = None
    device_seconds: Amount = None
    webhooks: Number = None


class QuotasOut(BaseModel):
    """The most an owner may have; null: any number."""

    bytes: int | None
    images: int | None
    running_jobs: int | None = Field(description="More of them wait.")
    queued_jobs: int | None
    device_seconds: int | None = Field(description="In `period_days`.")
    webhooks: int | None


class UsageOut(BaseModel):
    """What an owner has."""

    bytes: int = Field(description="Uploaded: parts of datasets, and teachers.")
    images: int
    running_jobs: int
    queued_jobs: int
    device_seconds: float = Field(description="Of jobs that began within `period_days`.")
    webhooks: int


class OwnerOut(BaseModel):
    """An owner."""

    name: str
    quotas: QuotasOut
    usage: UsageOut
    period_days: int

    @classmethod
    def of(cls, session: Session, settings: Settings, owner: Owner) -> "OwnerOut":
        """The public view of a row, with what the owner has now."""
        days = settings.quota_period_days
        return cls(
            name=owner.name,
            quotas=QuotasOut(**vars(quotas_of(owner, settings))),
            usage=UsageOut(**vars(usage_of(session, owner.name, days))),
            period_days=days,
        )


class OwnerList(BaseModel):
    """A page of owners, backwards by name."""

    data: list[OwnerOut]
    has_more: bool
    next_cursor: str | None


class Me(BaseModel):
    """Who asks."""

    owner: OwnerOut
    scope: Scope
    key_id: str | None = Field(description="null: no key is asked for.")
    direct_uploads: bool = Field(
        description="Whether parts of datasets go straight into the store: `POST …/parts/{number}/upload-url`."
    )
