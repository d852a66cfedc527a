"""Layers with trainable low-rank pairs beside their frozen matrix: W·x + B·A·x (Eqs. 1, 3, 4), and DoRA's variant.

A fused qkv holds three matrices, so it gets three pairs. A convolution's matrix is [out, in / groups · kh · kw],
a filter a row.
"""

import copy
import itertools
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.pair_products import MergedProduct, Way, cheapest_way


class LoRALayer(nn.Module):
    """A frozen layer with trainable low-rank pairs, one for every adapted projection stacked in it.

    With G adapted projections: ``lora_A`` is [G·K, d_in] and ``lora_B`` is [sum of their widths, K]; rows of B and of A
    belong together group by group.

    Args:
        base: the layer to adapt; frozen here.
        lora_rank: K.
        splits: output widths of the projections stacked in the layer.
        adapted: which of them get a pair; None for all.
        scale: factor of B·A (1 in the paper).
    """

    def __init__(
        self,
        base: nn.Linear | nn.Conv2d,
        lora_rank: int,
        splits: tuple[int, ...],
        adapted: tuple[bool, ...] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_rank = lora_rank
        self.splits = splits
        self.adapted = adapted or (True,) * len(splits)
        self.scale = scale
        widths = [width for width, own in zip(splits, self.adapted, strict=True) if own]
        like = base.weight.new_empty
        self.lora_A = nn.Parameter(like(len(widths) * lora_rank, self.in_features))
        self.lora_B = nn.Parameter(like(sum(widths), lora_rank).zero_())
        self._add_more()

    def _add_more(self) -> None:
        """Further trainable tensors of the kind."""

    @property
    def in_features(self) -> int:
        """Columns of W: width of the input, or what a filter reads."""
        return self.base.weight[0].numel()

    @property
    def out_features(self) -> int:
        """Rows of W: width of the output, all stacked projections together."""
        return len(self.base.weight)

    @property
    def weight(self) -> Tensor:
        """W + B·A, in the shape of the layer's own weight."""
        return self.base.weight + self.delta().view_as(self.base.weight)

    @property
    def bias(self) -> Tensor | None:
        """The frozen layer's bias, [d_out]."""
        return self.base.bias

    def delta(self) -> Tensor:
        """Scaled B·A, group by group, [d_out, d_in]; zero for projections without a pair."""
        return self._delta(self.lora_A, self.lora_B)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The plain layer with W ⊕ B·A (step 16), summed in float64 and rounded once."""
        layer = copy.deepcopy(self.base).requires_grad_(True)
        layer.weight.copy_(self._merged_matrix().view_as(layer.weight))
        return layer

    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by name."""
        return {"lora_A": self.lora_A, "lora_B": self.lora_B}

    def _merged_matrix(self) -> Tensor:
        matrix = self.base.weight.flatten(1).double()
        return matrix + self._delta(self.lora_A.double(), self.lora_B.double())

    def _widths(self) -> list[int]:
        return [width for width, own in zip(self.splits, self.adapted, strict=True) if own]

    def _delta(self, lora_A: Tensor, lora_B: Tensor) -> Tensor:
        columns = iter(torch.split(lora_A, self.lora_rank))
        rows = iter(torch.split(lora_B, self._widths()))
        update = torch.cat(
            [
                next(rows) @ next(columns) if own else lora_A.new_zeros(width, self.in_features)
                for width, own in zip(self.splits, self.adapted, strict=True)
            ]
        )
        return update if self.scale == 1.0 else self.scale * update


class LoRALinear(LoRALayer):
    """A linear layer with pairs.

    Some timm blocks (BEiT, EVA) do not call their qkv layer but read its ``weight``, so ``weight`` is the adapted
    matrix W + B·A, with gradients to A and B.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Adapted output (Eqs. 1, 3, 4).

        Args:
            x: [..., d_in].

        Returns:
            [..., d_out].
        """
        gradients = torch.is_grad_enabled() and self.lora_A.requires_grad
        pairs = self.lora_A.numel() + self.lora_B.numel()
        tokens = x.numel() // x.shape[-1]
        way = cheapest_way(tokens, self.base.weight.numel(), pairs, self.lora_rank, gradients=gradients)
        if way is Way.SEPARATE:
            return self._separate(x)
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        product: Tensor = MergedProduct.apply(  # type: ignore[no-untyped-call]
            x, self.base.weight, self.base.bias, self.lora_A, self.lora_B, self.scale, self._rows(), way
        )
        return product

    def _separate(self, x: Tensor) -> Tensor:
        """W·x + B·(A·x), as the paper writes it."""
        low = iter(torch.split(F.linear(x, self.lora_A), self.lora_rank, dim=-1))
        rows = iter(torch.split(self.lora_B, self._widths()))
        updates = [
            F.linear(next(low), next(rows)) if own else x.new_zeros(*x.shape[:-1], width)
            for width, own in zip(self.splits, self.adapted, strict=True)
        ]
        update = updates[0] if len(updates) == 1 else torch.cat(updates, dim=-1)
        if self.scale != 1.0:
            update = self.scale * update
        return F.linear(x, self.base.weight, self.base.bias) + update

    def _rows(self) -> tuple[slice, ...]:
        """Rows of W that belong to each adapted projection."""
        ends = list(itertools.accumulate(self.splits))
        return tuple(
            slice(end - width, end)
            for end, width, own in zip(ends, self.splits, self.adapted, strict=True)
            if own
        )


class LoRAConv2d(LoRALayer):
    """A convolution with a pair, which is added to the filters before they are applied.

    A second convolution with A's K filters would cost K / out of the first one's arithmetic again and keep a map of K
    channels for the gradients; B·A costs a product of two small matrices, whatever the size of the map.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Adapted output, [B, out, H', W'], of a map [B, in, H, W]."""
        convolution = cast("nn.Conv2d", self.base)
        output: Tensor = convolution._conv_forward(x, self.weight, self.base.bias)
        return output


class DoRALayer(LoRALayer):
    """Direction and length of every output's weight vector learnt apart: m · (W + B·A) / ‖W + B·A‖ (DoRA, Eq. 5).

    ``magnitude`` is [d_out] and starts as ‖W‖ row by row, so that the layer starts equal to its base. As DoRA's Section
    4.3 proposes, the norm counts as a constant in the gradient.
    """

    def _add_more(self) -> None:
        self.magnitude = nn.Parameter(self.base.weight.detach().flatten(1).norm(dim=1))

    @property
    def weight(self) -> Tensor:
        """m · (W + B·A) / ‖W + B·A‖, in the shape of the layer's own weight."""
        direction = self.base.weight.flatten(1) + self.delta()
        rescaled: Tensor = direction * (self.magnitude / _lengths(direction.detach()))[:, None]
        return rescaled.view_as(self.base.weight)

    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by name."""
        return {**super().trained(), "magnitude": self.magnitude}

    def _merged_matrix(self) -> Tensor:
        direction = super()._merged_matrix()
        rescaled: Tensor = direction * (self.magnitude.double() / _lengths(direction))[:, None]
        return rescaled


class DoRALinear(DoRALayer, LoRALinear):
    """A linear layer with pairs and magnitudes."""

    def forward(self, x: Tensor) -> Tensor:
        """Adapted output, [..., d_out]."""
        return F.linear(x, self.weight, self.base.bias)


class DoRAConv2d(DoRALayer, LoRAConv2d):
    """A convolution with a pair and magnitudes."""


def input_rows(layer: nn.Linear | nn.Conv2d, inputs: Tensor) -> Tensor:
    """What a layer's matrix is multiplied with, a row for every token, or for every position and group of a map.

    Args:
        layer: linear, or a convolution padded with zeros.
        inputs: that it reads, [..., d_in] or [B, in, H, W].

    Returns:
        [rows, d_in], d_in being in / groups · kh · kw for a convolution.
    """
    if isinstance(layer, nn.Linear):
        return inputs.flatten(0, -2)
    padding = cast("tuple[int, int]", layer.padding)
    patches = F.unfold(inputs, layer.kernel_size, layer.dilation, padding, layer.stride)
    of_groups = patches.reshape(len(patches), layer.groups, -1, patches.shape[-1])
    return of_groups.transpose(2, 3).flatten(0, -2)


def _lengths(rows: Tensor) -> Tensor:
    """‖·‖ of every row; a row of zeros has no direction and keeps none."""
    lengths: Tensor = rows.norm(dim=1)
    return lengths.clamp_min(torch.finfo(rows.dtype).tiny)
