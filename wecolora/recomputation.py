"""Activation checkpointing: a block keeps its input for the backward pass, and is computed once more there.

Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016. It costs a second forward pass of the student.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from wecolora.devices import autocast
from wecolora.families import model_blocks


@contextmanager
def recomputed_blocks(model: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """Recompute every block of a model in its backward passes, for as long as this is entered.

    Args:
        model: whose blocks are changed, and left as they were.
        device: that it lies on.
        precision: of its forward passes, ``fp32`` or ``bf16``.
    """

    def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        # torch enters autocast anew by itself, but not the form of attention that belongs to it.
        return nullcontext(), autocast(device, precision)

    blocks = model_blocks(model)
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # what is left is the class's own
