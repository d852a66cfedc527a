"""Leading directions of the inputs of every adapted layer, to start low-rank pairs from (EVA, Paischer et al. 2024)."""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import cast

import torch
from torch import Tensor, nn

from wecolora.architectures import adapted_linears


@torch.no_grad()
def input_directions(
    model: nn.Module, batches: Iterable[Tensor], count: int, device: torch.device
) -> dict[str, Tensor]:
    """Right singular vectors of the inputs of every matrix that can be adapted.

    Args:
        model: on the device.
        batches: normalised images, [B, 3, S, S] each.
        count: directions of each layer.
        device: of the model.

    Returns:
        By the layer's path, [count, d_in], orthonormal rows, the strongest first. A layer whose matrix its block reads
        without calling the layer (BEiT's qkv) has no inputs to see and is left out.
    """
    layers = {
        f"blocks.{number}.{path}": linear
        for number, block in enumerate(cast("nn.Sequential", model.blocks))
        for path, linear, _ in adapted_linears(block)
    }
    grams = {
        path: torch.zeros(linear.in_features, linear.in_features, dtype=torch.float64, device=device)
        for path, linear in layers.items()
    }
    with ExitStack() as hooks:
        for path, linear in layers.items():
            gram = grams[path]

            def add(_layer: nn.Module, inputs: tuple[Tensor, ...], gram: Tensor = gram) -> None:
                rows = inputs[0].flatten(0, -2).float()
                gram += (rows.T @ rows).double()

            hooks.callback(linear.register_forward_pre_hook(add).remove)
        for images in batches:
            model.forward_features(images.to(device))  # type: ignore[operator]
    return {
        path: torch.linalg.eigh(gram).eigenvectors.flip(1).T[:count]
        for path, gram in grams.items()
        if bool(gram.any())
    }
