"""Steps 5 to 8 and 16 of Algorithm 1: low-rank pairs on every matrix of every block, and merging them.

Eqs. 1, 3 and 4 give f(x) = W·x + B·A·x with W frozen, scale 1 and no bias of its own. A fused qkv holds three
matrices, so it gets three pairs. The paper leaves the initialisation open: A is Kaiming-uniform (a = √5) and B zero,
as in LoRA's own code, so that the student starts equal to the copied blocks.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.architectures import adapted_linears, describe_transformer
from wecolora.errors import OutOfRange


class LoRALinear(nn.Module):
    """A frozen linear layer with trainable low-rank pairs, one for every projection stacked in it.

    With G stacked projections of output widths ``splits``:
    ``lora_A`` is [G·K, d_in] and ``lora_B`` is [sum(splits), K]; rows of B and of A belong together group by group.

    Some timm blocks (BEiT, EVA) do not call their qkv layer but read its ``weight``, so ``weight`` is the adapted
    matrix W + B·A, with gradients to A and B.
    """

    def __init__(self, base: nn.Linear, lora_rank: int, splits: tuple[int, ...]) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_rank = lora_rank
        self.splits = splits
        like = base.weight.new_empty
        self.lora_A = nn.Parameter(like(len(splits) * lora_rank, base.in_features))
        self.lora_B = nn.Parameter(like(base.out_features, lora_rank).zero_())

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
        """B·A, group by group, [d_out, d_in]."""
        return stacked_product(self.lora_B, self.lora_A, self.splits)

    def forward(self, x: Tensor) -> Tensor:
        """Adapted output (Eqs. 1, 3, 4).

        Args:
            x: [..., d_in].

        Returns:
            [..., d_out].
        """
        low = F.linear(x, self.lora_A)
        pairs = zip(
            torch.split(low, self.lora_rank, dim=-1), torch.split(self.lora_B, list(self.splits)), strict=True
        )
        updates = [F.linear(part, rows) for part, rows in pairs]
        update = updates[0] if len(updates) == 1 else torch.cat(updates, dim=-1)
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
        update = stacked_product(self.lora_B.double(), self.lora_A.double(), self.splits)
        linear.weight.copy_(base.weight.double() + update)
        if base.bias is not None:
            linear.bias.copy_(base.bias)
        return linear


def stacked_product(lora_B: Tensor, lora_A: Tensor, splits: tuple[int, ...]) -> Tensor:
    """B·A of every stacked projection, one below the other.

    Args:
        lora_B: [sum(splits), K].
        lora_A: [len(splits)·K, d_in].
        splits: output widths of the stacked projections.

    Returns:
        [sum(splits), d_in].
    """
    rank = lora_B.shape[1]
    pairs = zip(torch.split(lora_B, list(splits)), torch.split(lora_A, rank), strict=True)
    return torch.cat([rows @ columns for rows, columns in pairs])


def add_lora(student: nn.Module, lora_rank: int, seed: int = 0) -> nn.Module:
    """Freeze the student and add trainable pairs to q, k, v, output projection, fc1 and fc2 of every block.

    Args:
        student: a transformer of alike blocks, changed in place.
        lora_rank: K, from 1 to the smallest side of the adapted matrices.
        seed: of A's initialisation; the global random state is left alone.

    Returns:
        The same model. Only ``lora_A`` and ``lora_B`` require gradients.

    Raises:
        OutOfRange: when K is not in that range.
        UnsupportedArchitecture: when the blocks are not alike.
    """
    layout = describe_transformer(student)
    if not 1 <= lora_rank <= layout.max_lora_rank:
        raise OutOfRange(
            "k", lora_rank, f"from 1 to {layout.max_lora_rank}", "the smallest side of the adapted matrices"
        )
    student.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for block in student.blocks:  # type: ignore[union-attr]
        for path, linear, splits in list(adapted_linears(block)):
            layer = LoRALinear(linear, lora_rank, splits)
            _initialise(layer, generator)
            block.set_submodule(path, layer)
    return student


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
        f"{path}.{name}": getattr(layer, name).detach()
        for path, layer in lora_layers(model).items()
        for name in ("lora_A", "lora_B")
    }


def _initialise(layer: LoRALinear, generator: torch.Generator) -> None:
    """Kaiming-uniform with a = √5, which is U(-1/√d_in, 1/√d_in); drawn on the CPU so that devices agree."""
    bound = 1 / math.sqrt(layer.in_features)
    values = torch.empty(layer.lora_A.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        layer.lora_A.copy_(values)
