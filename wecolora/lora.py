"""Steps 5 to 8 and 16 of Algorithm 1: low-rank pairs on every matrix of every block, and merging them.

Eqs. 1, 3 and 4 give f(x) = W·x + B·A·x with W frozen, scale 1 and no bias of its own. A fused qkv holds three
matrices, so it gets three pairs. The paper leaves the initialisation open: A is Kaiming-uniform (a = √5) and B zero,
as in LoRA's own code, so that the student starts equal to the copied blocks.

Beyond the paper: rank-stabilised scaling (rsLoRA, Kalajdzievski 2023), weight-decomposed adaptation (DoRA, Liu et al.
2024), pairs on q and v only (the paper's third ablation), and other initialisations of A.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.architectures import (
    TransformerLayout,
    adapted_linears,
    describe_transformer,
    is_query_or_value,
)
from wecolora.config import AdaptedMatrices, Adapter, LoraInit
from wecolora.errors import OutOfRange

# rsLoRA's α where none is given: with it the scale is 1 at rank 64, and 0.7 at the default rank of 128.
_RSLORA_ALPHA = 8.0


class LoRALinear(nn.Module):
    """A frozen linear layer with trainable low-rank pairs, one for every adapted projection stacked in it.

    With G adapted projections: ``lora_A`` is [G·K, d_in] and ``lora_B`` is [sum of their widths, K]; rows of B and of A
    belong together group by group.

    Some timm blocks (BEiT, EVA) do not call their qkv layer but read its ``weight``, so ``weight`` is the adapted
    matrix W + B·A, with gradients to A and B.

    Args:
        base: the layer to adapt; frozen here.
        lora_rank: K.
        splits: output widths of the projections stacked in the layer.
        adapted: which of them get a pair; None for all.
        scale: factor of B·A (1 in the paper).
    """

    def __init__(
        self,
        base: nn.Linear,
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
        self.lora_A = nn.Parameter(like(len(widths) * lora_rank, base.in_features))
        self.lora_B = nn.Parameter(like(sum(widths), lora_rank).zero_())

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.base.in_features

    @property
    def out_features(self) -> int:
        """Width of the output, all stacked projections together."""
        return self.base.out_features

    @property
    def weight(self) -> Tensor:
        """W + B·A, [d_out, d_in]."""
        return self.base.weight + self.delta()

    @property
    def bias(self) -> Tensor | None:
        """The frozen layer's bias, [d_out]."""
        return self.base.bias

    def delta(self) -> Tensor:
        """Scaled B·A, group by group, [d_out, d_in]; zero for projections without a pair."""
        return self._delta(self.lora_A, self.lora_B)

    def forward(self, x: Tensor) -> Tensor:
        """Adapted output (Eqs. 1, 3, 4).

        Args:
            x: [..., d_in].

        Returns:
            [..., d_out].
        """
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

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain layer with W ⊕ B·A (step 16), summed in float64 and rounded once."""
        base = self.base
        linear = nn.Linear(
            base.in_features,
            base.out_features,
            bias=base.bias is not None,
            device=base.weight.device,
            dtype=base.weight.dtype,
        )
        linear.weight.copy_(self._merged_weight())
        if base.bias is not None:
            linear.bias.copy_(base.bias)
        return linear

    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by name."""
        return {"lora_A": self.lora_A, "lora_B": self.lora_B}

    def _merged_weight(self) -> Tensor:
        return self.base.weight.double() + self._delta(self.lora_A.double(), self.lora_B.double())

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


class DoRALinear(LoRALinear):
    """Direction and length of every output's weight vector learnt apart: m · (W + B·A) / ‖W + B·A‖ (DoRA, Eq. 5).

    ``magnitude`` is [d_out] and starts as ‖W‖ row by row, so that the layer starts equal to its base. As DoRA's Section
    4.3 proposes, the norm counts as a constant in the gradient.
    """

    def __init__(
        self,
        base: nn.Linear,
        lora_rank: int,
        splits: tuple[int, ...],
        adapted: tuple[bool, ...] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(base, lora_rank, splits, adapted, scale)
        self.magnitude = nn.Parameter(base.weight.detach().norm(dim=1))

    @property
    def weight(self) -> Tensor:
        """m · (W + B·A) / ‖W + B·A‖, [d_out, d_in]."""
        direction = self.base.weight + self.delta()
        rescaled: Tensor = direction * (self.magnitude / _lengths(direction.detach()))[:, None]
        return rescaled

    def forward(self, x: Tensor) -> Tensor:
        """Adapted output, [..., d_out]."""
        return F.linear(x, self.weight, self.base.bias)

    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by name."""
        return {**super().trained(), "magnitude": self.magnitude}

    def _merged_weight(self) -> Tensor:
        direction = super()._merged_weight()
        rescaled: Tensor = direction * (self.magnitude.double() / _lengths(direction))[:, None]
        return rescaled


def _lengths(rows: Tensor) -> Tensor:
    """‖·‖ of every row; a row of zeros has no direction and keeps none."""
    lengths: Tensor = rows.norm(dim=1)
    return lengths.clamp_min(torch.finfo(rows.dtype).tiny)


@dataclass(frozen=True)
class Pairs:
    """Kind, place and start of the pairs; the defaults are the paper's.

    Attributes:
        adapter: ``lora``, ``rslora`` or ``dora``.
        matrices: all, or those of queries and values only (Table 1, third row).
        alpha: α of the scale; None takes K, that is no scale, and 8 for rsLoRA.
        init: of A; B is zero, so that the student starts equal to the copied blocks.
    """

    adapter: Adapter = Adapter.LORA
    matrices: AdaptedMatrices = AdaptedMatrices.ALL
    alpha: float | None = None
    init: LoraInit = LoraInit.KAIMING

    def scale(self, lora_rank: int) -> float:
        """Factor of B·A: α / K for LoRA and DoRA, α / √K for rsLoRA."""
        if self.adapter is Adapter.RSLORA:
            return (_RSLORA_ALPHA if self.alpha is None else self.alpha) / math.sqrt(lora_rank)
        return 1.0 if self.alpha is None else self.alpha / lora_rank


def add_lora(
    student: nn.Module,
    lora_rank: int,
    seed: int = 0,
    *,
    pairs: Pairs | None = None,
    directions: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Freeze the student and add trainable pairs to q, k, v, output projection, fc1 and fc2 of every block.

    Args:
        student: a transformer of alike blocks, changed in place.
        lora_rank: K, from 1 to the smallest side of the adapted matrices.
        seed: of A's initialisation; the global random state is left alone.
        pairs: their kind, place and start; None for the paper's.
        directions: leading directions of every adapted layer's inputs by its path, [≥ K, d_in] (`input_directions`),
            for pairs that start from them.

    Returns:
        The same model. Only ``lora_A``, ``lora_B`` and DoRA's ``magnitude`` require gradients.

    Raises:
        OutOfRange: when K is not in that range.
        UnsupportedArchitecture: when the blocks are not alike.
    """
    layout = describe_transformer(student)
    check_rank(layout, lora_rank)
    student.requires_grad_(False)
    chosen = pairs or Pairs()
    layer_type = DoRALinear if chosen.adapter is Adapter.DORA else LoRALinear
    scale = chosen.scale(lora_rank)
    generator = torch.Generator().manual_seed(seed)
    for number, block in enumerate(student.blocks):  # type: ignore[arg-type]
        for path, linear, splits in list(adapted_linears(block)):
            name = path.rsplit(".", 1)[-1]
            adapted = tuple(
                chosen.matrices is AdaptedMatrices.ALL or is_query_or_value(name, group)
                for group in range(len(splits))
            )
            if not any(adapted):
                continue
            layer = layer_type(linear, lora_rank, splits, adapted, scale)
            _initialise(layer, chosen.init, generator, (directions or {}).get(f"blocks.{number}.{path}"))
            block.set_submodule(path, layer)
    return student


def check_rank(layout: TransformerLayout, lora_rank: int) -> None:
    """Make sure that every adapted matrix admits pairs of this rank.

    Raises:
        OutOfRange: when one does not.
    """
    if not 1 <= lora_rank <= layout.max_lora_rank:
        raise OutOfRange(
            "k", lora_rank, f"from 1 to {layout.max_lora_rank}", "the smallest side of the adapted matrices"
        )


def merge_lora(student: nn.Module) -> nn.Module:
    """Fold every pair into its matrix (Algorithm 1, step 16), so that inference costs what the plain student costs.

    Args:
        student: a model after `add_lora`, changed in place.

    Returns:
        The same model with plain linear layers, every parameter trainable again.
    """
    for path, layer in lora_layers(student).items():
        student.set_submodule(path, layer.merged())
    return student.requires_grad_(True)


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """All adapted layers by their dotted path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, LoRALinear)}


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The trainable tensors alone, ``blocks.0.attn.qkv.lora_A`` and so on; what `adapter.safetensors` holds."""
    return {
        f"{path}.{name}": tensor.detach()
        for path, layer in lora_layers(model).items()
        for name, tensor in layer.trained().items()
    }


@torch.no_grad()
def _initialise(
    layer: LoRALinear, init: LoraInit, generator: torch.Generator, directions: Tensor | None
) -> None:
    """Set A; drawn on the CPU so that devices agree. Kaiming-uniform with a = √5 is U(-1/√d_in, 1/√d_in)."""
    bound = 1 / math.sqrt(layer.in_features)
    values = torch.empty(layer.lora_A.shape, dtype=torch.float32)
    match init:
        case LoraInit.KAIMING:
            values.uniform_(-bound, bound, generator=generator)
        case LoraInit.GAUSSIAN:
            values.normal_(0.0, bound, generator=generator)
        case LoraInit.ORTHOGONAL:
            for rows in torch.split(values, layer.lora_rank):
                nn.init.orthogonal_(rows, generator=generator)
        case LoraInit.EVA if directions is not None:
            for rows in torch.split(values, layer.lora_rank):
                rows.copy_(directions[: layer.lora_rank])
        case LoraInit.EVA:  # a layer that is read and never called has no inputs to start from
            values.uniform_(-bound, bound, generator=generator)
    layer.lora_A.copy_(values)
