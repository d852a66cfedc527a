"""What a training step minimises.

An objective is asked in two halves, so that what the teacher says of a view can be computed once and kept: `targets`
depends on the teacher, the images and the keys alone; `loss` compares the student with them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.config import DistillConfig, LossPlace, TokenLoss
from wecolora.losses import TokenReader, Tokens, token_distances
from wecolora.schedule import Key


class Objective(nn.Module, ABC):
    """A method's loss. Parameters of its own are trained beside the student's, and not delivered with it.

    What it draws at random (masks, say) must be a function of the keys and the run's seed, so that micro-batches and
    resumed runs change nothing.
    """

    # In a tuple, so that they do not become parts of this module.
    _networks: tuple[Any, Any] | None = None

    @contextmanager
    def attached(self, student: nn.Module, teacher: nn.Module) -> Iterator[None]:
        """Get hold of the two networks, on their device, for the time of a run."""
        self._networks = student, teacher
        try:
            yield
        finally:
            self._networks = None

    @abstractmethod
    def targets(self, images: Tensor, keys: Sequence[Key]) -> tuple[Tensor, ...]:
        """What the student is to be compared with; called without gradients.

        Args:
            images: normalised views, [B, 3, S, S].
            keys: of the views, B of them.

        Returns:
            Tensors whose first dimension is B.
        """

    @abstractmethod
    def loss(self, images: Tensor, keys: Sequence[Key], targets: tuple[Tensor, ...]) -> Tensor:
        """Mean loss of the micro-batch, [].

        Args:
            images: normalised views, [B, 3, S, S].
            keys: of the views, B of them.
            targets: what `targets` gave for these keys, in float32.
        """


class TokenObjective(Objective):
    """Distance of the student's tokens from the teacher's (paper, Eq. 5), and its variations.

    Args:
        config: ``loss``, ``loss_place``, ``normalise_targets``, ``cls_weight`` and ``block_weight`` are read.
        group_ends: teacher block that each student block but the last is compared with, counted from 0; used when
            ``block_weight`` is above 0.
    """

    def __init__(self, config: DistillConfig, group_ends: Sequence[int] = ()) -> None:
        super().__init__()
        self.place = LossPlace(config.loss_place)
        self.kind = TokenLoss(config.loss)
        self.normalised = config.normalise_targets
        self.cls_weight = config.cls_weight
        self.block_weight = config.block_weight
        self.group_ends = tuple(group_ends) if config.block_weight else ()
        self._read_student: TokenReader | None = None
        self._read_teacher: TokenReader | None = None
        self._class_token = False

    @contextmanager
    def attached(self, student: nn.Module, teacher: nn.Module) -> Iterator[None]:
        """Hook both networks."""
        self._read_student = TokenReader(student, self.place, range(len(self.group_ends)))
        self._read_teacher = TokenReader(teacher, self.place, self.group_ends)
        self._class_token = getattr(teacher, "cls_token", None) is not None
        with self._read_student.attached(), self._read_teacher.attached():
            yield

    def targets(self, images: Tensor, keys: Sequence[Key]) -> tuple[Tensor, ...]:
        """Teacher tokens: the last ones, then those at the ends of the groups, [B, N, D] each."""
        assert self._read_teacher is not None
        tokens = self._read_teacher.read(images)
        return (self._normalise(tokens.last), *map(self._normalise, tokens.blocks))

    def loss(self, images: Tensor, keys: Sequence[Key], targets: tuple[Tensor, ...]) -> Tensor:
        """Weighted mean distance."""
        assert self._read_student is not None
        tokens: Tokens = self._read_student.read(images)
        total = self._mean(token_distances(self._normalise(tokens.last), targets[0], self.kind))
        if self.group_ends:
            inner = [
                self._mean(token_distances(self._normalise(ours), theirs, self.kind))
                for ours, theirs in zip(tokens.blocks, targets[1:], strict=True)
            ]
            total = total + self.block_weight * sum(inner) / len(inner)
        return total

    def _normalise(self, tokens: Tensor) -> Tensor:
        """LayerNorm without weights of its own."""
        return F.layer_norm(tokens.float(), tokens.shape[-1:]) if self.normalised else tokens

    def _mean(self, distances: Tensor) -> Tensor:
        """Mean over [B, N], the class token apart where it has a weight of its own."""
        if self.cls_weight is None or not self._class_token:
            return distances.mean()
        return distances[:, 1:].mean() + self.cls_weight * distances[:, 0].mean()
