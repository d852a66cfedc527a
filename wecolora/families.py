"""Which networks the method fits: transformers of alike blocks, and ResNets.

The one place that tells families apart; everything else goes by their `Layout`.
"""

import torch
from torch import nn

from wecolora.architectures import architecture_name, describe_transformer, empty_tensors
from wecolora.errors import UnsupportedArchitecture
from wecolora.layouts import Layout
from wecolora.pooling import pool
from wecolora.resnets import STAGES, describe_resnet, is_resnet

_NO_TOKENS = "its features are not one row of tokens"


def describe_model(model: nn.Module) -> Layout:
    """Read a model's layout, or say why the method does not fit it.

    Args:
        model: a timm model, on any device, the meta device included.

    Raises:
        UnsupportedArchitecture: when it is no network of alike blocks; the reason names what differs.
    """
    return describe_resnet(model) if is_resnet(model) else describe_transformer(model)


def model_blocks(model: nn.Module) -> list[nn.Module]:
    """All blocks in the order in which they run; empty for a network that has no such thing."""
    containers = STAGES if is_resnet(model) else ("blocks",)
    return [block for path in containers for block in getattr(model, path, ())]


def check_tokens(model: nn.Module, image_size: int) -> None:
    """Make sure that the last block gives one row of tokens, [B, N, D], and pooling one vector an image, [B, F].

    The first is what the loss compares, the second what a probe reads. A ResNet's block gives a map, [B, D, H, W],
    whose positions are its tokens. One pass on the meta device: no arithmetic is done and no memory is taken.

    Raises:
        UnsupportedArchitecture: when it gives several streams, or something else.
    """
    dimensions = describe_model(model).token_dimensions
    caught: list[object] = []
    handle = model_blocks(model)[-1].register_forward_hook(lambda *call: caught.append(call[2]))
    images = torch.empty(2, 3, image_size, image_size, device="meta")
    pooling = _Pooling(model)
    try:
        with torch.no_grad():
            pooled = torch.func.functional_call(pooling, empty_tensors(pooling), (images,))
    except NotImplementedError as error:  # timm's way to say that a model has no pooled features
        raise UnsupportedArchitecture(architecture_name(model), _NO_TOKENS) from error
    finally:
        handle.remove()
    tokens = caught[0] if len(caught) == 1 else None
    if not isinstance(tokens, torch.Tensor) or tokens.ndim != dimensions or pooled.ndim != 2:
        raise UnsupportedArchitecture(architecture_name(model), _NO_TOKENS)


class _Pooling(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pool(self.model, images)
