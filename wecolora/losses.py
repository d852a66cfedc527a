"""The distillation loss, and the tokens that it compares."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.config import LossPlace, TokenLoss
from wecolora.errors import TokenShapeMismatch
from wecolora.families import model_blocks
from wecolora.layouts import as_tokens


def feature_l1(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of token embeddings (paper, Eq. 5), over all tokens: CLS, registers and patches.

    Args:
        student: tokens after the last student block, [B, N, D].
        teacher: tokens after the last teacher block, [B, N, D].

    Returns:
        Scalar loss, [].

    Raises:
        TokenShapeMismatch: when the two grids differ.
    """
    return token_distances(student, teacher).mean()


def token_distances(student: Tensor, teacher: Tensor, loss: TokenLoss = TokenLoss.L1) -> Tensor:
    """Distance of every pair of token embeddings, in float32.

    Args:
        student: [B, N, D].
        teacher: [B, N, D].
        loss: mean over D of the absolute or smooth absolute difference, or one less the cosine.

    Returns:
        [B, N].

    Raises:
        TokenShapeMismatch: when the two grids differ.
    """
    if student.shape != teacher.shape:
        raise TokenShapeMismatch(student.shape, teacher.shape)
    ours, theirs = student.float(), teacher.float()
    match loss:
        case TokenLoss.L1:
            return (ours - theirs).abs().mean(dim=-1)
        case TokenLoss.SMOOTH_L1:
            return F.smooth_l1_loss(ours, theirs, reduction="none").mean(dim=-1)
        case TokenLoss.COSINE:
            return 1 - F.cosine_similarity(ours, theirs, dim=-1)


@dataclass(frozen=True)
class Tokens:
    """What one pass of a network gives.

    Attributes:
        last: tokens after the last block, before or after the final norm, [B, N, D].
        features: what the network's ``forward_features`` gave, for its own pooling.
        blocks: tokens after each of the blocks asked for, [B, N, D] each.
    """

    last: Tensor
    features: Tensor
    blocks: tuple[Tensor, ...] = ()


class TokenReader:
    """Reads a model's token embeddings at one place, and after chosen blocks.

    The blocks' outputs are caught on their way, so that every timm family is read alike, whatever its
    ``forward_features`` does around the blocks; the positions of a ResNet's maps are its tokens. While a reader is
    attached the model must not be called by others.
    """

    def __init__(
        self,
        model: nn.Module,
        place: LossPlace | str = LossPlace.BEFORE_NORM,
        blocks: Sequence[int] = (),
    ) -> None:
        self.model = model
        self.place = LossPlace(place)
        self.blocks = tuple(blocks)
        self._caught: dict[int, Tensor] = {}

    @contextmanager
    def attached(self) -> "Iterator[TokenReader]":
        """Attach to the model for the time of a run."""
        modules = model_blocks(self.model)
        wanted = {*self.blocks, len(modules) - 1}
        handles = [modules[index].register_forward_hook(self._catcher(index)) for index in wanted]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()
            self._caught.clear()

    def _catcher(self, index: int) -> "_Hook":
        def catch(_block: nn.Module, _inputs: object, output: Tensor) -> None:
            self._caught[index] = as_tokens(output)

        return catch

    def read(self, images: Tensor) -> Tokens:
        """Tokens of a batch of normalised images, [B, 3, H, W]."""
        final: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        caught = dict(self._caught)
        self._caught.clear()
        last = caught[max(caught)] if self.place is LossPlace.BEFORE_NORM else as_tokens(final)
        return Tokens(last, final, tuple(caught[index] for index in self.blocks))

    def __call__(self, images: Tensor) -> Tensor:
        """The last tokens of a batch, [B, N, D]."""
        return self.read(images).last


class _Hook(Protocol):
    def __call__(self, _block: nn.Module, _inputs: object, output: Tensor) -> None: ...
