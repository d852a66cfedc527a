"""Bodies of the teacher endpoints."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.datasets.schemas import Name
from core.catalogue import CatalogueTeacher
from core.models import Teacher
from core.options import TeacherLimits

Channels = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]
PositiveChannels = Annotated[list[Annotated[float, Field(ge=1e-3, le=1)]], Field(min_length=3, max_length=3)]


class TeacherForm(BaseModel):
    """The text fields of an upload."""

    model_config = ConfigDict(extra="forbid")

    architecture: Annotated[str, Field(min_length=1, max_length=200, description="A timm architecture.")]
    name: Name | None = None
    image_size: int | None = Field(None, ge=1, le=4096, description="Unset: read from the file.")
    mean: Annotated[
        Channels | None,
        Field(description="Of R, G and B, as `0.5,0.5,0.5`. Unset: timm's default of the architecture."),
    ] = None
    std: Annotated[PositiveChannels | None, Field(description="Likewise.")] = None

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value


class TeacherOut(BaseModel):
    """A teacher; its `id` is what `POST /jobs` takes."""

    id: str
    name: str
    owner: str | None = Field(None, description="Of an uploaded teacher.")
    kind: Literal["timm", "bundled", "uploaded"]
    aliases: list[str] = []
    architecture: str
    family: str
    depth: int
    embed_dim: int
    max_lora_rank: int
    patch_size: int
    image_size: int
    dynamic_image_size: bool
    parameters: int
    mean: list[float] | None = None
    std: list[float] | None = None
    license: str | None = None
    description: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None

    @classmethod
    def of_catalogue(cls, teacher: CatalogueTeacher) -> "TeacherOut":
        """The public view of a catalogue entry."""
        kind: Literal["bundled", "timm"] = "bundled" if teacher.source else "timm"
        shared = teacher.model_dump(include=cls.model_fields.keys() - {"id", "kind", "owner"})
        return cls(id=teacher.name, kind=kind, **shared)

    @classmethod
    def of_row(cls, teacher: Teacher, family: str, limits: TeacherLimits) -> "TeacherOut":
        """The public view of an uploaded teacher."""
        return cls(
            id=teacher.id,
            name=teacher.name,
            owner=teacher.owner,
            kind="uploaded",
            architecture=teacher.architecture,
            family=family,
            depth=teacher.depth,
            embed_dim=teacher.embed_dim,
            max_lora_rank=limits.max_lora_rank,
            patch_size=limits.patch_size,
            image_size=teacher.image_size,
            dynamic_image_size=limits.dynamic_image_size,
            parameters=teacher.parameters,
            mean=teacher.mean,
            std=teacher.std,
            size_bytes=teacher.size_bytes,
            sha256=teacher.sha256,
        )


class TeacherList(BaseModel):
    """Uploaded teachers, newest first, then the catalogue."""

    data: list[TeacherOut]
