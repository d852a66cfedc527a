"""A frozen network's matrices as autocast multiplies with them: converted once, where it would at every call.

Autocast keeps its conversions of what is trained only, until its context ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# These alone, not what is derived from them: that may reckon with its matrix before it multiplies.
_LAYERS = (nn.Linear, nn.Conv2d)


class FrozenMatrices:
    """Weights and biases of a network's linear layers and convolutions in bf16, half as much memory again.

    Args:
        network: whose weights do not change any more.
    """

    def __init__(self, network: nn.Module) -> None:
        layers = [module for module in network.modules() if type(module) in _LAYERS]
        parameters = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
        self._parameters = [parameter for parameter in parameters if parameter.dtype == torch.float32]
        self._converted: list[Tensor] = []

    @contextmanager
    def in_bf16(self) -> Iterator[None]:
        """Compute with the converted ones in this context; under bf16 autocast nothing comes out differently."""
        if not self._converted:
            self._converted = [parameter.data.to(torch.bfloat16) for parameter in self._parameters]
        own = [parameter.data for parameter in self._parameters]
        self._set(self._converted)
        try:
            yield
        finally:
            self._set(own)

    def _set(self, tensors: list[Tensor]) -> None:
        for parameter, tensor in zip(self._parameters, tensors, strict=True):
            parameter.data = tensor
