"""What the teacher says of every view, computed once where memory holds it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wecolora.objectives import Key

# Kept targets may take so much; where all do not fit, none is kept.
MEMORY_BYTES = 2 * 1024**3


class TargetCache:
    """Targets by view, kept on the CPU in half precision.

    Whether a target is kept or computed again never changes what the student sees of it: each is rounded alike, so
    that a resumed run, whose cache is empty, ends with the same weights.

    Args:
        views: different views that the run shows, all images together; 0 keeps and rounds nothing.
    """

    def __init__(self, views: int) -> None:
        self.views = views
        self._kept: dict[Key, tuple[Tensor, ...]] = {}

    def get(
        self, keys: Sequence[Key], device: torch.device, compute: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """Targets of a micro-batch, first dimension B, in float32 on the device.

        Args:
            keys: of the micro-batch, B of them.
            device: to return them on.
            compute: the targets, where they are not kept.
        """
        if not self.views:
            return tuple(target.float() for target in compute())
        kept = [self._kept.get(key) for key in keys]
        if all(one is not None for one in kept):
            columns = zip(*(one for one in kept if one is not None), strict=True)
            return tuple(torch.stack(column).to(device).float() for column in columns)
        targets = tuple(_rounded(target) for target in compute())
        # Two bytes a number, as long as half precision's range holds it.
        if self.views * sum(2 * target[0].numel() for target in targets) <= MEMORY_BYTES:
            rows = zip(*(_packed(target.cpu()).unbind() for target in targets), strict=True)
            # Cloned, or one kept row would hold its whole batch.
            self._kept.update(
                {key: tuple(t.clone() for t in row) for key, row in zip(keys, rows, strict=True)}
            )
        return targets


def _rounded(target: Tensor) -> Tensor:
    """As half precision holds it, in float32; single features beyond its range stay as they are."""
    exact = target.float()
    half = exact.half().float()
    return torch.where(half.isfinite(), half, exact)


def _packed(rounded: Tensor) -> Tensor:
    """The same numbers in half the memory, where that can hold them all."""
    half = rounded.half()
    return half if torch.equal(half.float(), rounded) else rounded
