"""Run a network's blocks one at a time, as the network itself would call them."""

from typing import Any

import torch
from torch import Tensor, nn

from wecolora.blocks import copy_weights
from wecolora.families import describe_model, model_blocks
from wecolora.pooling import pool


class _Stop(Exception):
    pass


class BlockRunner:
    """Blocks of a network outside its own forward pass.

    What the network hands its blocks beside the tokens (rotary embeddings, say) is the same for all images of one size;
    it is recorded on one image.

    Args:
        model: a timm transformer of alike blocks, or a ResNet.
        image: one normalised image, [1, 3, S, S], on the model's device.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        self.model = model
        self.blocks = model_blocks(model)
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        handles = [block.register_forward_pre_hook(self._record, with_kwargs=True) for block in self.blocks]
        try:
            with torch.no_grad():
                model.forward_features(image)  # type: ignore[operator]
        finally:
            for handle in handles:
                handle.remove()

    def _record(self, _block: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._calls.append((inputs[1:], dict(keywords)))

    def enter(self, images: Tensor) -> Tensor:
        """What the first block reads, [B, N, D] or a map [B, D, H, W], of images [B, 3, S, S]."""
        caught: list[Tensor] = []

        def stop(_block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            caught.append(inputs[0])
            raise _Stop

        handle = self.blocks[0].register_forward_pre_hook(stop)
        try:
            self.model.forward_features(images)  # type: ignore[operator]
        except _Stop:
            pass
        finally:
            handle.remove()
        return caught[0]

    def run(self, index: int, tokens: Tensor) -> Tensor:
        """One block, on what the block before it gives."""
        arguments, keywords = self._calls[index]
        output: Tensor = self.blocks[index](tokens, *arguments, **keywords)
        return output


class _Given(nn.Module):
    """A block that gives what it was given before, whatever it reads."""

    tokens: Tensor

    def forward(self, _tokens: Tensor, *_arguments: object, **_keywords: object) -> Tensor:
        return self.tokens


class Ending:
    """What a network does behind its last block, up to the pooled features.

    Args:
        model: a timm transformer of alike blocks in one container; it is copied.
        image: one normalised image, [1, 3, S, S], on the model's device.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        self.given = _Given()
        self.shell = copy_weights(model, (0,))
        path = describe_model(model).stages[0].path
        blocks = type(self.shell.get_submodule(path))
        self.shell.set_submodule(
            path, blocks([self.given]) if blocks is nn.ModuleList else blocks(self.given)
        )
        self.image = image

    def __call__(self, tokens: Tensor) -> Tensor:
        """Pooled features, [B, F], of the last block's tokens, [B, N, D]."""
        self.given.tokens = tokens
        return pool(self.shell, self.image.expand(len(tokens), -1, -1, -1))
