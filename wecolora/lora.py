"""Steps 5 to 8 and 16 of Algorithm 1: low-rank pairs on every matrix of every block, and merging them.

Eqs. 1, 3 and 4 give f(x) = W·x + B·A·x with W frozen, scale 1 and no bias of its own (`wecolora.low_rank`). The paper
leaves the initialisation open: A is Kaiming-uniform (a = √5) and B zero, as in LoRA's own code, so that the student
starts equal to the copied blocks.

Beyond the paper: rank-stabilised scaling (rsLoRA, Kalajdzievski 2023), weight-decomposed adaptation (DoRA, Liu et al.
2024), pairs on q and v only (the paper's third ablation), and other initialisations of A.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wecolora.architectures import is_query_or_value
from wecolora.config import AdaptedMatrices, Adapter, LoraInit
from wecolora.errors import OutOfRange
from wecolora.families import describe_model, model_blocks
from wecolora.layouts import Layout, block_paths
from wecolora.low_rank import DoRAConv2d, DoRALayer, DoRALinear, LoRAConv2d, LoRALayer, LoRALinear

__all__ = [
    "DoRALayer",
    "DoRALinear",
    "LoRALayer",
    "LoRALinear",
    "Pairs",
    "adapter_state",
    "add_lora",
    "check_rank",
    "lora_layers",
    "merge_lora",
]

# rsLoRA's α where none is given: with it the scale is 1 at rank 64, and 0.7 at the default rank of 128.
_RSLORA_ALPHA = 8.0


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
    """Freeze the student and add trainable pairs to every matrix of every block.

    That is q, k, v, output projection, fc1 and fc2 of a transformer's, and every convolution of a ResNet's.

    Args:
        student: a transformer of alike blocks or a ResNet, changed in place.
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
    layout = describe_model(student)
    check_rank(layout, lora_rank)
    student.requires_grad_(False)
    chosen = pairs or Pairs()
    scale = chosen.scale(lora_rank)
    generator = torch.Generator().manual_seed(seed)
    for block_path, block in zip(block_paths(layout), model_blocks(student), strict=True):
        for path, base, splits in list(layout.adapted_layers(block)):
            name = path.rsplit(".", 1)[-1]
            adapted = tuple(
                chosen.matrices is AdaptedMatrices.ALL or is_query_or_value(name, group)
                for group in range(len(splits))
            )
            if not any(adapted):
                continue
            layer = _layer_type(base, chosen.adapter)(base, lora_rank, splits, adapted, scale)
            _initialise(layer, chosen.init, generator, (directions or {}).get(f"{block_path}.{path}"))
            block.set_submodule(path, layer)
    return student


def _layer_type(base: nn.Module, adapter: Adapter) -> type[LoRALayer]:
    if isinstance(base, nn.Conv2d):
        return DoRAConv2d if adapter is Adapter.DORA else LoRAConv2d
    return DoRALinear if adapter is Adapter.DORA else LoRALinear


def check_rank(layout: Layout, lora_rank: int) -> None:
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
        The same model with plain layers, every parameter trainable again.
    """
    for path, layer in lora_layers(student).items():
        student.set_submodule(path, layer.merged())
    return student.requires_grad_(True)


def lora_layers(model: nn.Module) -> dict[str, LoRALayer]:
    """All adapted layers by their dotted path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, LoRALayer)}


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The trainable tensors alone, ``blocks.0.attn.qkv.lora_A`` and so on; what `adapter.safetensors` holds."""
    return {
        f"{path}.{name}": tensor.detach()
        for path, layer in lora_layers(model).items()
        for name, tensor in layer.trained().items()
    }


@torch.no_grad()
def _initialise(
    layer: LoRALayer, init: LoraInit, generator: torch.Generator, directions: Tensor | None
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
