"""Which transformers the method fits, and which of their matrices are adapted.

The method copies whole blocks from one depth to another, so all blocks must be alike, in ``model.blocks``, and timm
must be able to build the same network at another depth. Anything else is refused by name before any work.

Legend, here and in the other modules: B batch, N tokens, D embed_dim, K LoRA rank, L teacher depth, M student depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from wecolora.choices import Method
from wecolora.errors import UnsupportedArchitecture
from wecolora.layouts import AdaptedMatrix, Stage

# Linear layers of a block that carry the paper's W_Q, W_K, W_V, W_O, W_f1 and W_f2 (Eqs. 1, 3, 4), by the names
# that timm gives them. Others inside a block (talking heads, relative-position projections) stay frozen.
_QUERY_KEY_VALUE = frozenset({"qkv", "q_proj", "k_proj", "v_proj", "q", "k", "v", "kv", "in_proj"})
_OUTPUT = frozenset({"proj", "out_proj", "attn_out_proj"})
_FEED_FORWARD = frozenset({"fc1", "fc1_g", "fc1_x", "fc2", "mlp_out_proj", "w12", "w3"})
_LAST = ("fc2", "w3", "mlp_out_proj", "out_proj")
_GATE = frozenset({"gate"})  # the output gate of gated attention, one more matrix of the same kind
ADAPTED_NAMES = _QUERY_KEY_VALUE | _OUTPUT | _FEED_FORWARD | _GATE


@dataclass(frozen=True)
class TransformerLayout:
    """What the method needs to know of a transformer.

    Attributes:
        architecture: timm's name of it.
        depth: number of blocks L.
        embed_dim: token width D.
        matrices: the adapted matrices of one block; all blocks are alike.
    """

    architecture: str
    depth: int
    embed_dim: int
    matrices: tuple[AdaptedMatrix, ...]

    @property
    def max_lora_rank(self) -> int:
        """Largest K that every adapted matrix admits."""
        return min(matrix.max_rank for matrix in self.matrices)

    def trainable_parameters(self, lora_rank: int, blocks: int) -> int:
        """Parameters that training updates with this rank on so many blocks."""
        return blocks * sum(matrix.trainable_parameters(lora_rank) for matrix in self.matrices)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One, since all blocks are alike."""
        return (Stage("blocks", self.depth),)

    @property
    def first_blocks_stay(self) -> bool:
        """No block is unlike the others."""
        return False

    @property
    def token_dimensions(self) -> int:
        """Blocks give [B, N, D]."""
        return 3

    @property
    def methods(self) -> frozenset[Method]:
        """All of them, as far as layouts go."""
        return frozenset(Method)

    def timm_arguments(self) -> dict[str, object]:
        """timm's transformers take their depth as a number."""
        return {"depth": self.depth}

    def adapted_layers(self, block: nn.Module) -> Iterator[tuple[str, nn.Linear, tuple[int, ...]]]:
        """See `adapted_linears`."""
        return adapted_linears(block)


def describe_transformer(model: nn.Module) -> TransformerLayout:
    """Read a model's layout, or say why the method does not fit it.

    Args:
        model: a timm model, on any device, the meta device included.

    Raises:
        UnsupportedArchitecture: when it is not a transformer of alike blocks; the reason names what differs.
    """
    architecture = architecture_name(model)
    blocks = _alike_blocks(architecture, model)
    width = getattr(model, "embed_dim", None)
    if not isinstance(width, int):
        raise UnsupportedArchitecture(architecture, "its width differs from stage to stage")
    if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
        raise UnsupportedArchitecture(architecture, "it does not expose its tokens (no forward_features)")
    matrices = tuple(_adapted_matrices(blocks[0]))
    names = {matrix.name.rsplit(".", 1)[-1] for matrix in matrices}
    if not names & _QUERY_KEY_VALUE:
        raise UnsupportedArchitecture(architecture, "its blocks have no self-attention")
    if hasattr(blocks[0], "attn_in"):
        raise UnsupportedArchitecture(architecture, "its blocks carry two streams of tokens")
    if not names & _FEED_FORWARD:
        raise UnsupportedArchitecture(architecture, "its blocks have no feed-forward matrices")
    return TransformerLayout(architecture, len(blocks), width, matrices)


def empty_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Stand-ins on the meta device for all parameters and buffers, for a pass that only follows shapes."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    return {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}


def architecture_name(model: nn.Module) -> str:
    """timm's name of the model's architecture, or its class name when timm did not build it."""
    config = getattr(model, "pretrained_cfg", None) or {}
    return str(config.get("architecture") or type(model).__name__)


def adapted_linears(block: nn.Module) -> Iterator[tuple[str, nn.Linear, tuple[int, ...]]]:
    """Yield path, layer and splits (see `AdaptedMatrix`) of every adapted layer of a block."""
    for path, module in block.named_modules():
        name = path.rsplit(".", 1)[-1]
        if isinstance(module, nn.Linear) and name in ADAPTED_NAMES and "rel_pos" not in path:
            parent = block.get_submodule(path.rpartition(".")[0])
            yield path, module, _splits(name, module, parent)


def is_query_or_value(name: str, group: int) -> bool:
    """Whether a stacked projection is W_Q or W_V (Table 1, third row), by the layer's name and its place in it."""
    if name == "qkv":
        return group in (0, 2)
    if name == "kv":
        return group == 1
    if name == "in_proj":  # of timm's parallel blocks: feed-forward, query, key, value
        return group in (1, 3)
    return name in {"q", "v", "q_proj", "v_proj"}


def last_linear(block: nn.Module) -> nn.Linear:
    """The layer that ends a block's feed-forward network: the paper's W_f2 (Eq. 4), under the family's own name."""
    layers = {path.rsplit(".", 1)[-1]: linear for path, linear, _ in adapted_linears(block)}
    return next(layers[name] for name in _LAST if name in layers)


def _adapted_matrices(block: nn.Module) -> Iterator[AdaptedMatrix]:
    for path, linear, splits in adapted_linears(block):
        yield AdaptedMatrix(path, linear.in_features, splits)


def _splits(name: str, linear: nn.Linear, parent: nn.Module) -> tuple[int, ...]:
    width = linear.out_features
    if name == "in_proj" and hasattr(parent, "in_split"):
        return tuple(cast("list[int]", parent.in_split))
    if name == "qkv":
        return (width // 3,) * 3
    if name in {"kv", "w12"}:
        return (width // 2,) * 2
    # timm's GluMlp keeps gate and value in one fc1, twice as wide as what fc2 reads.
    fc2 = getattr(parent, "fc2", None)
    if name == "fc1" and isinstance(fc2, nn.Linear) and width == 2 * fc2.in_features:
        return (width // 2,) * 2
    return (width,)


def _alike_blocks(architecture: str, model: nn.Module) -> list[nn.Module]:
    if not any(hasattr(module, name) for module in model.modules() for name in ("num_heads", "heads")):
        convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
        kind = (
            "is a convolutional network without transformer blocks"
            if convolutions > 2
            else "has no self-attention"
        )
        raise UnsupportedArchitecture(architecture, f"it {kind}")
    container = getattr(model, "blocks", None)
    if not isinstance(container, nn.Sequential | nn.ModuleList) or len(container) == 0:
        raise UnsupportedArchitecture(
            architecture, "it is built of stages of different widths or resolutions"
        )
    blocks = list(container)
    first = _signature(blocks[0])
    for index, block in enumerate(blocks[1:], start=1):
        if type(block) is not type(blocks[0]) or _signature(block) != first:
            raise UnsupportedArchitecture(
                architecture, f"its blocks are not alike: block {index} differs from block 0 in kind or shape"
            )
    return blocks


def _signature(block: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in block.state_dict(keep_vars=True).items()]
