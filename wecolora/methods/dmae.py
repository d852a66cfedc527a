"""Masked reconstruction with alignment of intermediate features (Bai et al., 2023, "Masked autoencoders enable
efficient knowledge distillers"): the baseline `dmae`.

Legend: B batch, P patches, V visible patches, W masked patches, T tokens before the patches, D embed_dim, L and M
blocks of teacher and student.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.architectures import architecture_name
from wecolora.errors import MethodDoesNotFit
from wecolora.methods.base import Context, Preparation
from wecolora.methods.masking import (
    PixelDecoder,
    cut_into_patches,
    draw_masks,
    encode_visible,
    normalise_patches,
)
from wecolora.methods.random_student import build_random
from wecolora.objectives import Objective
from wecolora.schedule import Key
from wecolora.teachers import image_size_of
from wecolora.torchvision_compat import timm

ALIGNED_DEPTH = 0.75  # where features are compared (Bai et al., 2023: block 9 of 12, 18 of 24)


def check_dmae(teacher: nn.Module) -> None:
    """Make sure that patches can be left out, and that what is trained is what is read.

    Raises:
        MethodDoesNotFit: when not.
    """
    reason = None
    model = cast("Any", teacher)
    if type(teacher) not in (timm.models.VisionTransformer, timm.models.Eva):
        reason = f"timm's {type(teacher).__name__} cannot leave out patches"
    elif getattr(model, "attn_pool", None) is not None:
        reason = "its features are pooled by an attention layer, which reconstruction does not train"
    elif any(image_size_of(teacher) % side for side in model.patch_embed.grid_size):
        reason = "its patches do not tile the image"
    elif model.patch_embed.num_patches < 2:
        reason = "it has one patch only"
    if reason:
        raise MethodDoesNotFit("dmae", architecture_name(teacher), reason)


def prepare_dmae(context: Context) -> Preparation:
    """A random student of M blocks, a decoder and a projection, neither of which is delivered.

    Raises:
        MethodDoesNotFit: the teacher's patches cannot be left out.
    """
    teacher, config = context.teacher, context.config
    check_dmae(teacher)
    student = build_random(teacher, config.seed, depth=len(context.blocks))
    student.to(context.device).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        objective = MaskedObjective(student, context.layout.depth, config.mask_ratio, config.seed)
    return Preparation(
        student,
        objective,
        finish=lambda trained: trained,
        delivers="a timm folder; where the teacher has a head, the student's own is untrained",
        in_training=MaskedAutoencoder(student, objective),
    )


def aligned_block(depth: int) -> int:
    """The block, counted from 0, that ends the first three quarters of a transformer."""
    return math.ceil(ALIGNED_DEPTH * depth) - 1


def count_visible(patches: int, mask_ratio: float) -> int:
    """Patches that the student sees: at least one, and at least one is masked."""
    return min(max(1, int(patches * (1 - mask_ratio))), patches - 1)


class MaskedObjective(Objective):
    """Mean squared error of the masked patches' normalised pixels, plus the L1 distance of intermediate features.

    Teacher and student see the same visible patches; the student's features after three quarters of its blocks are
    projected linearly before they are compared with the teacher's after three quarters of its own. Both terms weigh 1.

    Args:
        student: whose widths are read.
        teacher_depth: L.
        mask_ratio: share of the patches that is masked.
        seed: of the masks.
    """

    def __init__(self, student: nn.Module, teacher_depth: int, mask_ratio: float, seed: int) -> None:
        super().__init__()
        network = cast("Any", student)
        rows, columns = network.patch_embed.grid_size
        self.grid = int(rows), int(columns)
        self.patches = self.grid[0] * self.grid[1]
        self.visible = count_visible(self.patches, mask_ratio)
        self.seed = seed
        self.teacher_block = aligned_block(teacher_depth)
        self.student_block = aligned_block(len(network.blocks))
        width, prefix = int(network.embed_dim), int(network.num_prefix_tokens)
        self.decoder = PixelDecoder(width, self.grid, prefix, 3 * image_size_of(student) ** 2 // self.patches)
        self.projection = nn.Linear(width, width)

    def targets(self, images: Tensor, keys: Sequence[Key]) -> tuple[Tensor, ...]:
        """The teacher's features of the visible patches, [B, T + V, D]; its later blocks are not run."""
        assert self._networks is not None
        keep, _ = self._masks(keys, images.device)
        features, _ = encode_visible(self._networks[1], images, keep, self.teacher_block, only_block=True)
        return (features,)

    def loss(self, images: Tensor, keys: Sequence[Key], targets: tuple[Tensor, ...]) -> Tensor:
        """Reconstruction and alignment."""
        assert self._networks is not None
        keep, masked = self._masks(keys, images.device)
        projected, predicted = self.reconstruct(self._networks[0], images, keep, masked)
        pixels = normalise_patches(cut_into_patches(images, self.grid))
        rows = torch.arange(len(images), device=images.device)[:, None]
        reconstruction = F.mse_loss(predicted.float(), pixels[rows, masked])
        return reconstruction + F.l1_loss(projected.float(), targets[0])

    def reconstruct(
        self, student: nn.Module, images: Tensor, keep: Tensor, masked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Projected inner features, [B, T + V, D], and pixels of the masked patches, [B, W, 3 · pixels]."""
        inner, tokens = encode_visible(student, images, keep, self.student_block)
        return self.projection(inner), self.decoder(tokens, keep, masked)

    def _masks(self, keys: Sequence[Key], device: torch.device) -> tuple[Tensor, Tensor]:
        keep, masked = draw_masks(keys, self.seed, self.patches, self.visible)
        return keep.to(device), masked.to(device)


class MaskedAutoencoder(nn.Module):
    """What a training step runs of the student's side: the encoder on the visible patches, projection and decoder.

    Args:
        student: the encoder.
        objective: holds the other two.
    """

    def __init__(self, student: nn.Module, objective: MaskedObjective) -> None:
        super().__init__()
        self.student = student
        self.objective = objective

    @property
    def patch_embed(self) -> nn.Module:
        """The encoder's, which knows the size of the input."""
        return cast("nn.Module", self.student.patch_embed)

    def forward(self, images: Tensor) -> Tensor:
        """Pixels of the masked patches, [B, W, 3 · pixels], where the first patches are the visible ones."""
        numbers = torch.arange(self.objective.patches, device=images.device).expand(len(images), -1)
        keep, masked = numbers[:, : self.objective.visible], numbers[:, self.objective.visible :]
        return self.objective.reconstruct(self.student, images, keep, masked)[1]
