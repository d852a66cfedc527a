"""What a student would cost, from what is known of its architecture: parameters, multiply-accumulates, bytes.

The numbers lie in the catalogue of teachers, where `tools.make_teacher_catalogue` has written them by the engine's own
counts. A count that depends on the size of the image is a polynomial of s, the side of the grid of patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise

from pydantic import BaseModel, ConfigDict

from core.options import JobOptions

Polynomial = list[int]
"""Whole coefficients by the powers of s, the constant first."""

BYTES_A_PARAMETER = 4


class Cost(BaseModel):
    """What a part of a network adds to the whole."""

    model_config = ConfigDict(frozen=True)

    parameters: Polynomial = []
    macs: Polynomial = []
    """Multiply-accumulates of one image."""
    buffer_bytes: Polynomial = []
    """What is stored beside the parameters: running means and variances."""
    pairs: int = 0
    """Parameters of low-rank pairs for every 1 of their rank."""
    pairs_qv: int = 0
    """Likewise, where only the matrices of queries and values have pairs."""
    rows: int = 0
    """Rows of the matrices that have pairs: DoRA learns a magnitude for each."""
    rows_qv: int = 0


class NetworkCost(BaseModel):
    """A network: what stays whatever is left out, and what each further block of a stage adds."""

    model_config = ConfigDict(frozen=True)

    base: Cost
    blocks: list[Cost]


@dataclass(frozen=True)
class NetworkCounts:
    """Of a network with some number of blocks, at one size of the image."""

    parameters: int
    macs: int
    buffer_bytes: int
    pairs: int
    pairs_qv: int
    rows: int
    rows_qv: int

    @property
    def gmacs(self) -> float:
        """10⁹ multiply-accumulates of one image."""
        return self.macs / 1e9

    @property
    def size_bytes(self) -> int:
        """Of all tensors; a file has some kilobytes of names beside them."""
        return BYTES_A_PARAMETER * self.parameters + self.buffer_bytes


@dataclass(frozen=True)
class KnownNetwork:
    """A teacher whose cost is known.

    Attributes:
        cost: of its architecture.
        stages: blocks of each; one stage for a transformer.
        patch_size: pixels a patch, on a side.
        image_size: that it was made for, in pixels.
        embed_dim: width of its last tokens.
        parameters: all of them. What they differ by from its architecture's is its head's: more or fewer classes.
    """

    cost: NetworkCost
    stages: tuple[int, ...]
    patch_size: int
    image_size: int
    embed_dim: int
    parameters: int

    @property
    def head_parameters(self) -> int:
        """By how many its head has more than its architecture's."""
        own = count_network(self.cost, self.stages, self.image_size // self.patch_size)
        return self.parameters - own.parameters

    def count(self, depths: Sequence[int], image_size: int | None = None) -> NetworkCounts:
        """The same network with so many blocks in each stage, which is what a student is.

        Args:
            depths: blocks of each stage.
            image_size: pixels; None for the teacher's own.
        """
        head = self.head_parameters
        counts = count_network(self.cost, depths, (image_size or self.image_size) // self.patch_size)
        # A class has a weight for every feature, and a bias.
        macs = counts.macs + head * self.embed_dim // (self.embed_dim + 1)
        return replace(counts, parameters=counts.parameters + head, macs=macs)


def count_network(cost: NetworkCost, depths: Sequence[int], side: int) -> NetworkCounts:
    """Add up a network.

    Args:
        cost: of its architecture.
        depths: blocks of each stage.
        side: of the grid of patches.
    """
    # In a network of several stages the base has the first block of each, which is unlike the others.
    in_base = 1 if len(cost.blocks) > 1 else 0
    parts = [(1, cost.base)]
    parts += [(depth - in_base, block) for depth, block in zip(depths, cost.blocks, strict=True)]

    def total(name: str) -> int:
        return sum(times * _value(getattr(part, name), side) for times, part in parts)

    return NetworkCounts(**{field.name: total(field.name) for field in fields(NetworkCounts)})


def _value(count: Polynomial | int, side: int) -> int:
    if isinstance(count, int):
        return count
    return sum(coefficient * side**power for power, coefficient in enumerate(count))


def blocks_of_stages(stages: Sequence[int], kept: Sequence[int]) -> list[int]:
    """How many of the kept blocks, counted over all stages from 0, lie in each stage."""
    bounds = list(accumulate(stages, initial=0))
    return [sum(start <= block < end for block in kept) for start, end in pairwise(bounds)]


def trained_parameters(options: JobOptions, student: NetworkCounts) -> int | None:
    """What the steps of the training change; None where the loss decides it.

    Args:
        options: complete.
        student: that is trained.
    """
    if options.method == "weco" or options.epochs == 0:
        return 0
    match options.method:
        case "wecolora":
            pairs, rows = student.pairs, student.rows
        case "weco-lora-qv":
            pairs, rows = student.pairs_qv, student.rows_qv
        case _:
            return None
    return options.k * pairs + (rows if options.adapter == "dora" else 0)
