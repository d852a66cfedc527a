"""Weight multiplexing with distillation of relations (Zhang et al., 2022, "MiniViT: Compressing vision transformers
with weight multiplexing"): the baseline `minivit`.

The student is as deep as the teacher, but its L blocks are M blocks used several times in a row. It has fewer
parameters, not fewer multiply-accumulates.

Legend: B batch, N tokens, D embed_dim, H heads, M blocks of the student, K classes.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wecolora.architectures import architecture_name
from wecolora.blocks import copy_weights
from wecolora.errors import MethodDoesNotFit
from wecolora.methods.base import Context, Preparation
from wecolora.methods.multiplexing import export_multiplexed, multiplex
from wecolora.objectives import Objective
from wecolora.pooling import classes_of
from wecolora.schedule import Key
from wecolora.students import student_line
from wecolora.torchvision_compat import timm

# Zhang et al., 2022: weights of the relations of queries, keys and values, and of hidden states.
ATTENTION_WEIGHT = 1.0
HIDDEN_WEIGHT = 0.1


def check_minivit(teacher: nn.Module) -> None:
    """Make sure that the teacher is a plain vision transformer, whose attention can be transformed.

    Raises:
        MethodDoesNotFit: when it is not.
    """
    reason = None
    blocks = list(cast("nn.Sequential", teacher.blocks))
    vision_transformer = timm.models.vision_transformer
    attention = getattr(blocks[0], "attn", None)
    if type(teacher) is not timm.models.VisionTransformer:
        reason = (
            f"the transformations are defined for plain vision transformers, not for {type(teacher).__name__}"
        )
    elif type(blocks[0]) is not vision_transformer.Block or type(attention) is not timm.layers.Attention:
        kind = f"{type(blocks[0]).__name__} with {type(attention).__name__}"
        reason = f"its blocks ({kind}) are not plain self-attention followed by a feed-forward network"
    elif cast("Any", attention).gate is not None:
        reason = "its attention is gated"
    elif cast("Any", teacher).dynamic_img_size:
        reason = "its grid of patches is not fixed"
    if reason:
        raise MethodDoesNotFit("minivit", architecture_name(teacher), reason)


def prepare_minivit(context: Context) -> Preparation:
    """Group the teacher's blocks, share the kept one of every group, and compare relations at the groups' ends.

    Raises:
        MethodDoesNotFit: the teacher is no plain vision transformer.
    """
    check_minivit(context.teacher)
    ends = context.group_ends()
    groups = [
        range(start, end + 1) for start, end in zip((0, *(e + 1 for e in ends[:-1])), ends, strict=True)
    ]
    blocks = list(cast("nn.Sequential", context.teacher.blocks))
    student = multiplex(
        copy_weights(context.teacher, context.blocks),
        [[blocks[index] for index in group] for group in groups],
    )
    student.to(context.device).requires_grad_(True)
    return Preparation(
        student,
        RelationObjective(ends, bool(classes_of(context.teacher))),
        finish=lambda trained: trained,
        export=export_multiplexed,
        delivers="a folder for wecolora.load_student: blocks that are used several times, which timm cannot build",
        load=student_line,
    )


@dataclass(frozen=True)
class Reading:
    """What one pass of a network gives.

    Attributes:
        stacked: queries, keys and values of the last use of every watched block, [B, N, 3 · D] each.
        hidden: tokens after every watched block, [B, N, D] each.
        logits: [B, K], where the network has a head.
    """

    stacked: tuple[Tensor, ...]
    hidden: tuple[Tensor, ...]
    logits: Tensor | None


class _Reader:
    """Catches what the relations are made of, at chosen blocks."""

    def __init__(self, model: nn.Module, blocks: Sequence[int], classify: bool) -> None:
        self.model = cast("Any", model)
        self.blocks = tuple(blocks)
        self.classify = classify
        self._caught: dict[tuple[str, int], Tensor] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        with ExitStack() as hooks:
            for index in self.blocks:
                block = self.model.blocks[index]
                for kind, module in (("stacked", block.attn.qkv), ("hidden", block)):
                    handle = module.register_forward_hook(self._catcher(kind, index))
                    hooks.callback(handle.remove)
            try:
                yield
            finally:
                self._caught.clear()

    def _catcher(self, kind: str, index: int) -> Any:
        def catch(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._caught[kind, index] = output

        return catch

    def read(self, images: Tensor) -> Reading:
        logits: Tensor | None = None
        if self.classify:
            logits = self.model(images)
        else:
            self.model.forward_features(images)
        caught = dict(self._caught)
        self._caught.clear()
        return Reading(
            tuple(caught["stacked", index] for index in self.blocks),
            tuple(caught["hidden", index] for index in self.blocks),
            logits,
        )


class RelationObjective(Objective):
    """Prediction, relations of queries, keys and values, and relations of hidden states (Zhang et al., 2022).

    All are taken where a group of blocks ends, for every group. Relations of attention are softmax rows of M_i · M_jᵀ
    / √d for every pair out of queries, keys and values, compared by their divergence, each head by itself. Relations of
    hidden states are the cosines of all pairs of tokens, compared by squared differences summed over a row, as the
    authors' released commands have it: a softmax of unnormalised products is one-hot for teachers with long tokens.
    The prediction is compared with the teacher's distribution in the same way as attention, where it has a head.

    Args:
        group_ends: last teacher block of every group, counted from 0.
        classify: compare predictions.
    """

    def __init__(self, group_ends: Sequence[int], classify: bool) -> None:
        super().__init__()
        self.group_ends = tuple(group_ends)
        self.classify = classify
        self._student: _Reader | None = None
        self._teacher: _Reader | None = None
        self._heads = 1

    @contextmanager
    def attached(self, student: nn.Module, teacher: nn.Module) -> Iterator[None]:
        """Hook both networks."""
        self._student = _Reader(student, range(len(self.group_ends)), self.classify)
        self._teacher = _Reader(teacher, self.group_ends, self.classify)
        self._heads = int(cast("Any", teacher).blocks[0].attn.num_heads)
        with self._student.attached(), self._teacher.attached():
            yield

    def targets(self, images: Tensor, keys: Sequence[Key]) -> tuple[Tensor, ...]:
        """Of every group: stacked queries, keys and values, then hidden states; last the logits, if there are."""
        assert self._teacher is not None
        reading = self._teacher.read(images)
        logits = () if reading.logits is None else (reading.logits,)
        return (*reading.stacked, *reading.hidden, *logits)

    def loss(self, images: Tensor, keys: Sequence[Key], targets: tuple[Tensor, ...]) -> Tensor:
        """Weighted sum of the three."""
        assert self._student is not None
        ours = self._student.read(images)
        groups = len(self.group_ends)
        total = torch.zeros((), device=images.device)
        for index in range(groups):
            # Relations of all heads are large: computed again in the backward pass instead of kept.
            attention: Tensor = checkpoint(
                attention_relation_loss,
                ours.stacked[index],
                targets[index],
                self._heads,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            hidden = hidden_relation_loss(ours.hidden[index], targets[groups + index])
            total = total + (ATTENTION_WEIGHT * attention + HIDDEN_WEIGHT * hidden) / groups
        if ours.logits is not None:
            total = total + _divergence(ours.logits, targets[-1]).mean()
        return total


def attention_relation_loss(student: Tensor, teacher: Tensor, heads: int) -> Tensor:
    """Mean divergence of the nine relations between queries, keys and values.

    Args:
        student: stacked queries, keys and values, [B, N, 3 · D].
        teacher: likewise.
        heads: H.
    """
    ours, theirs = _by_head(student, heads), _by_head(teacher, heads)
    scale = 1 / math.sqrt(ours[0].shape[-1])
    losses = [
        _divergence(ours[i] @ ours[j].mT * scale, theirs[i] @ theirs[j].mT * scale).mean()
        for i in range(3)
        for j in range(3)
    ]
    return torch.stack(losses).mean()


def hidden_relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared differences of the cosines of all pairs of tokens, summed over a row, their mean over rows and images.

    Args:
        student: hidden states, [B, N, D].
        teacher: likewise.
    """
    ours, theirs = F.normalize(student.float(), dim=-1), F.normalize(teacher.float(), dim=-1)
    return (ours @ ours.mT - theirs @ theirs.mT).square().sum(dim=-1).mean()


def _by_head(stacked: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Queries, keys and values, [B, H, N, d] each."""
    B, N, _ = stacked.shape
    return stacked.float().reshape(B, N, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """Kullback-Leibler divergence of softmax rows from the teacher's, [..., N] to [...].

    The cross-entropy less the teacher's entropy: the same gradients, and 0 for a perfect student.
    """
    divergence = F.kl_div(
        ours.float().log_softmax(dim=-1),
        theirs.float().log_softmax(dim=-1),
        reduction="none",
        log_target=True,
    )
    return divergence.sum(dim=-1)
