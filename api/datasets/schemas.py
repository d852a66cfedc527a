"""Bodies of the dataset endpoints."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.left_out import LeftOutKind
from core.models import Dataset, DatasetPart
from core.states import DatasetState

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
Sha256 = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{64}$")]
HIGHEST_PART = 10_000


class DatasetCreate(BaseModel):
    """A new dataset."""

    model_config = ConfigDict(extra="forbid")

    name: Name = "dataset"


class PartDigest(BaseModel):
    """A part that the client believes it uploaded."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=1, le=HIGHEST_PART)
    sha256: Sha256


class DatasetComplete(BaseModel):
    """What the upload consists of; without `parts`, whatever has arrived."""

    model_config = ConfigDict(extra="forbid")

    parts: list[PartDigest] | None = Field(None, min_length=1, max_length=HIGHEST_PART)


class PartAnnounced(BaseModel):
    """A part that is about to be uploaded."""

    model_config = ConfigDict(extra="forbid")

    filename: Annotated[str, StringConstraints(max_length=400, pattern=r"^[^\x00-\x1f]*$")] | None = Field(
        None, examples=["photos.zip"]
    )
    size_bytes: int = Field(ge=1, le=2**53, examples=[5])
    sha256: Sha256 = Field(examples=["2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"])


class PartConfirm(BaseModel):
    """A part that was stored by its URL."""

    model_config = ConfigDict(extra="forbid")

    sha256: Sha256 = Field(description="As it was announced.")


class UploadTarget(BaseModel):
    """Where a part is to be sent: the same request for every store, and one more after a direct one."""

    direct: bool = Field(
        description="Whether it goes straight to the store: without the API's key, and confirmed afterwards."
    )
    method: Literal["PUT"] = "PUT"
    url: str = Field(description="Of the store; or a path of this API.")
    headers: dict[str, str] = Field(description="To be sent as they are, besides `Content-Length`.")
    expires_at: datetime | None = Field(description="null: it does not.")
    confirm: str | None = Field(
        description="Path to POST `{sha256}` to once the store has taken it; null: none."
    )


class PartOut(BaseModel):
    """An uploaded part."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    filename: str | None
    size_bytes: int
    sha256: str
    content_type: str
    created_at: datetime

    @classmethod
    def of(cls, part: DatasetPart) -> "PartOut":
        """The public view of a row."""
        return cls.model_validate(part)


class PartList(BaseModel):
    """Every part, by number."""

    data: list[PartOut]


class LeftOutOut(BaseModel):
    """A file that is not in the dataset."""

    model_config = ConfigDict(from_attributes=True)

    kind: LeftOutKind
    path: str = Field(description="In the upload.")
    reason: str


class LeftOutList(BaseModel):
    """A page of them, in the order of the upload."""

    data: list[LeftOutOut]
    has_more: bool
    next_cursor: str | None


class ErrorOut(BaseModel):
    """Why a job or a dataset failed."""

    code: str
    message: str
    param: str | None = None
    retryable: bool = False


class SizeRange(BaseModel):
    """Smallest, middle and largest extent of the images, in pixels."""

    min: int
    median: int
    max: int


class SizeBin(BaseModel):
    """How many images have a shorter side of so many pixels."""

    from_pixels: int
    to_pixels: int = Field(description="The bin's largest.")
    images: int


class Statistics(BaseModel):
    """What the images of a dataset are like."""

    width: SizeRange
    height: SizeRange
    shorter_sides: list[SizeBin] = Field(
        [],
        description="Two bins an octave, from the smallest image to the largest; empty for older datasets.",
    )
    formats: dict[str, int] = Field(description="Images by the format that they came in.")
    class_counts: dict[str, int] | None = Field(
        description="Images of each class, where they lie in class folders."
    )


class ContactSheet(BaseModel):
    """Thumbnails in one JPEG: square tiles, row by row from the upper left, evenly taken from all images."""

    tiles: int
    columns: int
    tile_pixels: int
    size_bytes: int


class IngestProgress(BaseModel):
    """How far a worker is that reads an upload."""

    parts: int = Field(description="Uploaded parts that are read.")
    total_parts: int
    images: int = Field(description="Taken so far.")
    skipped: int = Field(description="Files left out so far.")


class DatasetOut(BaseModel):
    """A dataset."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    owner: str
    name: str
    state: DatasetState
    error: ErrorOut | None
    progress: IngestProgress | None = Field(description="While a worker reads the upload.")
    image_count: int | None
    skipped_count: int | None
    duplicate_count: int | None
    size_bytes: int | None
    class_names: list[str] | None
    splits: dict[str, Any] | None
    statistics: Statistics | None
    contact_sheet: ContactSheet | None
    created_at: datetime
    updated_at: datetime
    links: dict[str, str] = {}

    @classmethod
    def of(cls, dataset: Dataset) -> "DatasetOut":
        """The public view of a row."""
        here = f"/datasets/{dataset.id}"
        links = {"self": here, "parts": f"{here}/parts", "complete": f"{here}/complete"}
        if dataset.report_key:
            links["report"] = f"{here}/report"
            links["left_out"] = f"{here}/left-out"
            links["left_out_csv"] = f"{here}/left-out.csv"
        if dataset.contact_sheet:
            links["contact_sheet"] = f"{here}/contact-sheet"
        return cls.model_validate(dataset).model_copy(update={"links": links})


class DatasetList(BaseModel):
    """A page of datasets, newest first."""

    data: list[DatasetOut]
    has_more: bool
    next_cursor: str | None
