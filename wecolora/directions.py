"""Leading directions of the inputs of every adapted layer, to start low-rank pairs from (EVA, Paischer et al. 2024)."""

from collections.abc import Iterable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from wecolora.families import describe_model, model_blocks
from wecolora.layouts import block_paths
from wecolora.low_rank import input_rows

_IMAGES_AT_ONCE = 8  # a convolution's inputs take kh · kw times their memory as rows


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
    layout = describe_model(model)
    layers = {
        f"{block_path}.{path}": layer
        for block_path, block in zip(block_paths(layout), model_blocks(model), strict=True)
        for path, layer, _ in layout.adapted_layers(block)
    }
    widths = {path: layer.weight[0].numel() for path, layer in layers.items()}
    grams = {
        path: torch.zeros(width, width, dtype=torch.float64, device=device) for path, width in widths.items()
    }
    with ExitStack() as hooks:
        for path, layer in layers.items():
            gram = grams[path]

            def add(layer: nn.Linear | nn.Conv2d, inputs: tuple[Tensor, ...], gram: Tensor = gram) -> None:
                for part in torch.split(inputs[0], _IMAGES_AT_ONCE):
                    rows = input_rows(layer, part).float()
                    gram += (rows.T @ rows).double()

            hooks.callback(layer.register_forward_pre_hook(add).remove)
        for images in batches:
            model.forward_features(images.to(device))  # type: ignore[operator]
    return {
        path: torch.linalg.eigh(gram).eigenvectors.flip(1).T[:count]
        for path, gram in grams.items()
        if bool(gram.any())
    }
