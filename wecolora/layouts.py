"""What the method needs to know of a network, whatever its family: its stages of blocks, and the matrices in them.

A transformer is one stage of alike blocks; a ResNet is several, and the first block of each is unlike the others.
Everything that depends on the family goes through `Layout`; `wecolora.families` reads it off a model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from wecolora.choices import Method


@dataclass(frozen=True)
class Stage:
    """Blocks that lie in one container of a network.

    Attributes:
        path: of the container, ``blocks`` or ``layer3``.
        depth: how many they are.
    """

    path: str
    depth: int


@dataclass(frozen=True)
class AdaptedMatrix:
    """One layer of a block that gets low-rank pairs.

    Attributes:
        name: dotted path inside the block, ``attn.qkv``.
        in_features: width of its input; of a convolution, what a filter reads: in / groups · kh · kw.
        splits: output widths of the projections stacked in it: ``(D, D, D)`` for a fused qkv, ``(4 * D,)`` for fc1,
            two halves for an fc1 that packs gate and value. Each gets its own pair of A and B.
    """

    name: str
    in_features: int
    splits: tuple[int, ...]

    @property
    def max_rank(self) -> int:
        """Largest K for which B·A is still of lower rank than W: min(d1, d2) over the stacked projections."""
        return min(self.in_features, *self.splits)

    def trainable_parameters(self, lora_rank: int) -> int:
        """K · (d_in + d_out), summed over the stacked projections."""
        return sum(lora_rank * (self.in_features + split) for split in self.splits)


class Layout(Protocol):
    """A family's answers to what the rest of the engine asks."""

    @property
    def architecture(self) -> str:
        """timm's name of it."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Where the blocks lie, in the order in which they run."""

    @property
    def depth(self) -> int:
        """Number of blocks, all stages together."""

    @property
    def embed_dim(self) -> int:
        """Width of the last tokens, D."""

    @property
    def max_lora_rank(self) -> int:
        """Largest K that every adapted matrix admits."""

    @property
    def first_blocks_stay(self) -> bool:
        """Whether the first block of every stage is unlike the others, so that it cannot be skipped."""

    @property
    def token_dimensions(self) -> int:
        """Dimensions of what a block gives: 3 for tokens [B, N, D], 4 for a map [B, D, H, W]."""

    @property
    def methods(self) -> frozenset[Method]:
        """Methods that fit."""

    def timm_arguments(self) -> dict[str, object]:
        """With what timm builds the architecture at this depth."""

    def adapted_layers(
        self, block: nn.Module
    ) -> Iterator[tuple[str, nn.Linear | nn.Conv2d, tuple[int, ...]]]:
        """Path, layer and splits (see `AdaptedMatrix`) of every layer of a block that gets pairs."""


def block_paths(layout: Layout) -> tuple[str, ...]:
    """The dotted path of every block: ``blocks.0`` …, or ``layer1.0`` …."""
    return tuple(f"{stage.path}.{index}" for stage in layout.stages for index in range(stage.depth))


def first_blocks(stages: Sequence[Stage]) -> tuple[int, ...]:
    """The number of each stage's first block, all blocks counted together from 0."""
    return tuple(sum(stage.depth for stage in stages[:number]) for number in range(len(stages)))


def by_stage(stages: Sequence[Stage], blocks: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Block numbers, counted together, as one tuple for each stage."""
    starts = first_blocks(stages)
    return tuple(
        tuple(block for block in blocks if start <= block < start + stage.depth)
        for start, stage in zip(starts, stages, strict=True)
    )


def as_tokens(output: Tensor) -> Tensor:
    """A block's output as rows of tokens: [B, N, D] as it is, a map [B, D, H, W] as [B, H·W, D]."""
    return output.flatten(2).transpose(1, 2) if output.ndim == 4 else output
