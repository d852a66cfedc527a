"""Attention rollout: from which patches the last block's tokens come (Abnar and Zuidema, 2020; paper, Figure 3).

Attention is read where torch computes it, by a function mode that holds for one thread and one pass: timm's modules are
neither changed nor patched, fused attention stays fused, and whatever a family adds (rotary positions, normalised
queries, position biases) is in what is read.

Legend: B images, H heads, N tokens, L blocks.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from wecolora.architectures import architecture_name
from wecolora.errors import AttentionUnavailable
from wecolora.families import model_blocks
from wecolora.teachers import image_size_of, patch_size_of

# The paper keeps the "top 10%" of the fused attention.
DISCARD = 0.9
_SOFTMAX = frozenset({"softmax", "_softmax"})
_POOLED_PATCHES = frozenset({"avg", "avgmax", "max"})


def attention_grids(model: nn.Module, images: Tensor, discard: float = DISCARD) -> tuple[Tensor, str]:
    """Where a model looks: the rollout of its attention, on the grid of its patches.

    Models that read a class token are shown by its row. Where the features are pooled over patches, or there is no
    class token, it is the mean of the patches' rows. Class, distillation and register tokens are left out of the grid.

    Args:
        model: a timm transformer in eval mode.
        images: normalised, [B, 3, S, S], on the model's device.
        discard: share of each block's fused attention, the lowest, that is set to 0.

    Returns:
        [B, rows, columns], the largest value of each image 1; and which row was read, in words.

    Raises:
        AttentionUnavailable: when the blocks do not compute one attention matrix over their tokens each, or the tokens
            are not one a patch.
    """
    rolled = rollout(block_attention(model, images), discard)
    prefix = int(getattr(model, "num_prefix_tokens", 0))
    side = image_size_of(model) // patch_size_of(model)
    if rolled.shape[-1] - prefix != side * side:
        raise AttentionUnavailable(
            architecture_name(model),
            f"it has {rolled.shape[-1]} tokens, which are not {prefix} and one for each of {side} × {side} patches",
        )
    if reads_class_token(model):
        row, readout = rolled[:, 0, prefix:], "class token"
    else:
        row, readout = rolled[:, prefix:, prefix:].mean(dim=1), "mean of the patches"
    peak = row.amax(dim=1, keepdim=True).clamp_min(torch.finfo(row.dtype).tiny)
    return (row / peak).reshape(-1, side, side), readout


def reads_class_token(model: nn.Module) -> bool:
    """Whether the model's features are those of a class token."""
    has_one = getattr(model, "cls_token", None) is not None
    return has_one and getattr(model, "global_pool", "token") not in _POOLED_PATCHES


def rollout(attention: Iterable[Tensor], discard: float = DISCARD) -> Tensor:
    """Multiply the blocks' fused attention, the skip connections added as the identity.

    Args:
        attention: fused over the heads, [B, N, N] of each block, first block first.
        discard: share of each matrix, its lowest values, that is set to 0.

    Returns:
        [B, N, N]; row i says how much of each input token is in token i of the last block. Rows sum to 1.
    """
    product: Tensor | None = None
    for matrix in attention:
        kept = _keep_highest(matrix, discard) + torch.eye(matrix.shape[-1], device=matrix.device)
        kept = kept / kept.sum(dim=-1, keepdim=True)
        product = kept if product is None else kept @ product
    if product is None:
        raise ValueError("there are no blocks to roll out")
    return product


@torch.no_grad()
def block_attention(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Attention of every block, heads fused by their maximum, of one pass.

    Args:
        model: in eval mode.
        images: normalised, [B, 3, S, S].

    Returns:
        [B, N, N] float32 of each of the L blocks.

    Raises:
        AttentionUnavailable: when a block computes none, or several.
    """
    recorder = _Recorder()
    blocks = model_blocks(model)
    with ExitStack() as hooks:
        for index, block in enumerate(blocks):
            for handle in (
                block.register_forward_pre_hook(recorder.entering(index)),
                block.register_forward_hook(recorder.leaving),
            ):
                hooks.callback(handle.remove)
        with recorder:
            cast("Any", model).forward_features(images)
    for index in range(len(blocks)):
        count = len(recorder.found.get(index, ()))
        if count != 1:
            raise AttentionUnavailable(
                architecture_name(model),
                f"its block {index} computes {count or 'no'} attention {'matrix' if count == 0 else 'matrices'} over "
                "all its tokens where one is expected",
            )
    return [recorder.found[index][0] for index in range(len(blocks))]


class _Recorder(TorchFunctionMode):
    """Keeps every matrix over tokens that a softmax or a fused attention makes inside a block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, list[Tensor]] = {}
        self._block: int | None = None
        self._tokens = 0

    def entering(self, index: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(_block: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._block, self._tokens = index, inputs[0].shape[1]

        return note

    def leaving(self, _block: nn.Module, _inputs: object, _output: object) -> None:
        self._block = None

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        result = func(*args, **options)
        if self._block is not None:
            if func is F.scaled_dot_product_attention:
                self._keep(_fused_weights(*args, **options))
            elif getattr(func, "__name__", "") in _SOFTMAX:
                self._keep(result)
        return result

    def _keep(self, weights: Tensor) -> None:
        assert self._block is not None
        if weights.ndim == 4 and weights.shape[-2:] == (self._tokens, self._tokens):
            self.found.setdefault(self._block, []).append(weights.float().amax(dim=1))


def _fused_weights(query: Tensor, key: Tensor, value: Tensor, *more: Any, **options: Any) -> Tensor:
    """The weights that torch's fused attention used and did not return, [B, H, N, N]: what it makes of unit vectors."""
    tokens = value.shape[-2]
    units = torch.eye(tokens, dtype=value.dtype, device=value.device).expand(*value.shape[:-1], tokens)
    return F.scaled_dot_product_attention(query, key, units, *more, **options)


def _keep_highest(matrix: Tensor, discard: float) -> Tensor:
    """Set the lowest share of each image's values to 0, and keep at least one."""
    flat = matrix.flatten(1)
    kept = max(1, flat.shape[1] - int(discard * flat.shape[1]))
    threshold = flat.topk(kept, dim=1).values[:, -1]
    return torch.where(matrix >= threshold[:, None, None], matrix, torch.zeros_like(matrix))
