"""The teachers that come with the service, and what is known of architectures without loading torch."""

import difflib
import itertools
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.costs import KnownNetwork, NetworkCost
from core.errors import FieldProblem, UnknownTeacher, UnsupportedTeacher
from core.options import TeacherLimits
from core.recipes import load_engine_options

BUILT_IN = Path(__file__).with_name("teacher_catalogue.json")
SUGGESTIONS = 5


class ResolvedTeacher(BaseModel):
    """The teacher of a job as its row keeps it: all a worker needs to load it."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Literal["timm", "bundled", "uploaded"]
    source: str = Field(description="timm name, folder below the repository's root, or storage key.")
    architecture: str
    image_size: int
    depth: int
    embed_dim: int
    teacher_id: str | None = None
    mean: list[float] | None = Field(None, description="Of R, G and B; unset: what the source says.")
    std: list[float] | None = None


class NetworkShape(BaseModel):
    """What is known of a transformer or ResNet without loading it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    family: str
    depth: int
    embed_dim: int
    num_heads: int | None = Field(None, description="Unset: a network without attention.")
    stages: list[int] = Field(
        default_factory=list, description="Blocks of each stage, where there are several."
    )
    max_lora_rank: int
    patch_size: int
    image_size: int
    dynamic_image_size: bool = True
    cost: NetworkCost | None = Field(
        None,
        description="By the engine's counts; of a catalogued teacher only where its architecture has another.",
    )

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage; a transformer is one."""
        return tuple(self.stages) or (self.depth,)

    def limits(self, image_size: int | None = None) -> TeacherLimits:
        """The ranges of a job's options."""
        return TeacherLimits(
            depth=self.depth,
            max_compression_factor=max(self.stages, default=self.depth),
            max_lora_rank=self.max_lora_rank,
            patch_size=self.patch_size,
            image_size=image_size or self.image_size,
            dynamic_image_size=self.dynamic_image_size,
            fixed_blocks=tuple(itertools.accumulate([0, *self.stages[:-1]])) if self.stages else (),
            methods=tuple(load_engine_options().methods_of_stages) if self.stages else None,
        )


class Architecture(NetworkShape):
    """A supported architecture."""

    tensors: dict[str, list[int]] = Field(
        default_factory=dict,
        description="Shapes by name; {i} is the block, in a network of stages every block but a stage's first.",
    )


class CatalogueTeacher(NetworkShape):
    """One pretrained teacher."""

    name: str
    architecture: str
    aliases: list[str] = Field(default_factory=list)
    source: str | None = Field(None, description="Folder of a bundled teacher; unset: timm fetches it.")
    parameters: int
    license: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    description: str | None = None

    def resolve(self) -> ResolvedTeacher:
        """The form kept in a job."""
        return ResolvedTeacher(
            name=self.name,
            kind="bundled" if self.source else "timm",
            source=self.source or self.name,
            architecture=self.architecture,
            image_size=self.image_size,
            depth=self.depth,
            embed_dim=self.embed_dim,
        )


class Catalogue(BaseModel):
    """The catalogue file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    teachers: list[CatalogueTeacher]
    architectures: dict[str, Architecture]
    unsupported: dict[str, str] = Field(default_factory=dict, description="Why, by architecture.")

    def known_teacher(self, name: str) -> CatalogueTeacher | None:
        """The teacher of that name or alias, if there is one."""
        named = (each for each in self.teachers if name == each.name or name in each.aliases)
        return next(named, None)

    def find_teacher(self, name: str) -> CatalogueTeacher:
        """The teacher of that name or alias.

        Raises:
            UnsupportedTeacher: for a known architecture that cannot work; says why.
            UnknownTeacher: otherwise; suggests the nearest names.
        """
        if (teacher := self.known_teacher(name)) is not None:
            return teacher
        self._refuse_unsupported(name, "teacher")
        known = [name for teacher in self.teachers for name in (teacher.name, *teacher.aliases)]
        raise UnknownTeacher(_unknown("teacher", name, known, "see GET /teachers"))

    def find_architecture(self, name: str) -> Architecture:
        """The architecture of that name.

        Raises:
            UnsupportedTeacher: for one that cannot work; says why.
            UnknownTeacher: otherwise; suggests the nearest names.
        """
        if name in self.architectures:
            return self.architectures[name]
        self._refuse_unsupported(name, "architecture")
        raise UnknownTeacher(_unknown("architecture", name, list(self.architectures), "a timm architecture"))

    def known_network(self, teacher: ResolvedTeacher, parameters: int) -> KnownNetwork | None:
        """What is known of a teacher's cost; None where nothing is.

        Args:
            teacher: of this catalogue, or uploaded.
            parameters: that it has, without running means and variances.
        """
        own = None if teacher.kind == "uploaded" else self.find_teacher(teacher.name)
        shape: NetworkShape | None = own if own and own.cost else self.architectures.get(teacher.architecture)
        if shape is None or shape.cost is None:
            return None
        return KnownNetwork(
            cost=shape.cost,
            stages=shape.depths,
            patch_size=shape.patch_size,
            image_size=teacher.image_size,
            embed_dim=shape.embed_dim,
            parameters=parameters,
        )

    def _refuse_unsupported(self, name: str, field: str) -> None:
        # A pretrained tag (`resnet50.a1_in1k`) does not change what the architecture is.
        reason = self.unsupported.get(name) or self.unsupported.get(name.split(".")[0])
        if reason:
            raise UnsupportedTeacher(FieldProblem(field, f"{name} is not supported: {reason}", input=name))


def _unknown(field: str, name: str, known: list[str], otherwise: str) -> FieldProblem:
    near = difflib.get_close_matches(name, known, n=SUGGESTIONS, cutoff=0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return FieldProblem(field, f"there is no {field} {name!r}{hint}", ", ".join(near) or otherwise, name)


@lru_cache(maxsize=4)
def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read the catalogue once."""
    return Catalogue.model_validate_json((path or BUILT_IN).read_bytes())
