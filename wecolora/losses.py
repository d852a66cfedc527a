"""The distillation loss, and the tokens that it compares."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from wecolora.config import LossPlace
from wecolora.errors import TokenShapeMismatch


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
    if student.shape != teacher.shape:
        raise TokenShapeMismatch(student.shape, teacher.shape)
    return (student.float() - teacher.float()).abs().mean()


class TokenReader:
    """Reads a model's token embeddings at one place.

    The last block's output is caught on its way to the final norm, so that every timm family is read alike, whatever
    its ``forward_features`` does around the blocks. While a reader is attached the model must not be called by others.
    """

    def __init__(self, model: nn.Module, place: LossPlace | str = LossPlace.BEFORE_NORM) -> None:
        self.model = model
        self.place = LossPlace(place)
        self._caught: list[Tensor] = []

    @contextmanager
    def attached(self) -> "Iterator[TokenReader]":
        """Attach to the model for the time of a run."""
        last_block: nn.Module = self.model.blocks[-1]  # type: ignore[index, assignment]
        handle = last_block.register_forward_hook(self._catch)
        try:
            yield self
        finally:
            handle.remove()
            self._caught.clear()

    def _catch(self, _block: nn.Module, _inputs: object, output: Tensor) -> None:
        self._caught.append(output)

    def __call__(self, images: Tensor) -> Tensor:
        """Tokens of a batch.

        Args:
            images: normalised images, [B, 3, H, W].

        Returns:
            [B, N, D].
        """
        final: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        before_norm = self._caught.pop()
        return before_norm if self.place is LossPlace.BEFORE_NORM else final
