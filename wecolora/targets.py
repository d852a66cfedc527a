"""What the teacher says of every view, computed once where memory holds it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wecolora.devices import spare_bytes
from wecolora.schedule import Key
from wecolora.streams import Reading

# Kept targets may take so much of the host's memory; where all do not fit, none is kept.
MEMORY_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class _Kept:
    """A view's targets: a row of those of the batch that it was first seen in."""

    batch: tuple[Tensor, ...]
    row: int
    fits: Reading


class TargetCache:
    """Targets by view, kept in half precision on the device that uses them.

    Whether a target is kept or computed again never changes what the student sees of it: each is rounded alike, so
    that a resumed run, whose cache is empty, ends with the same weights.

    Args:
        views: different views that the run shows, all images together; 0 keeps and rounds nothing.
    """

    def __init__(self, views: int) -> None:
        self.views = views
        self._bytes: int | None = None
        self._kept: dict[Key, _Kept] = {}

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
        # Half precision's range may be too small for single features; then the teacher is asked again.
        if all(one is not None and one.fits.get() for one in kept):
            rows = [[target[one.row] for target in one.batch] for one in kept if one is not None]
            return tuple(torch.stack(column).float() for column in zip(*rows, strict=True))
        exact = tuple(target.float() for target in compute())
        halves = tuple(target.half() for target in exact)
        finite = [half.isfinite() for half in halves]
        if self.views * sum(half[0].nbytes for half in halves) <= self._room(device):
            new = [row for row, one in enumerate(kept) if one is None]
            # Rows that are kept already would hold memory twice.
            batch = halves if len(new) == len(keys) else tuple(half[new] for half in halves)
            fits = Reading(torch.stack([each.all() for each in finite]).all())
            self._kept.update({keys[row]: _Kept(batch, place, fits) for place, row in enumerate(new)})
        return tuple(
            torch.where(where, half.float(), full)
            for where, half, full in zip(finite, halves, exact, strict=True)
        )

    def forget(self) -> bool:
        """Give the memory back, and keep nothing more; returns whether there was any."""
        held = bool(self._kept)
        self._kept.clear()
        self._bytes = 0
        return held

    def _room(self, device: torch.device) -> int:
        if self._bytes is None:
            # A GPU asks the teacher again sooner than it fetches targets from the host.
            self._bytes = spare_bytes(device) if device.type == "cuda" else MEMORY_BYTES
        return self._bytes
