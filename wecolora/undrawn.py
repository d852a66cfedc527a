"""Networks built without drawing the random weights that what is loaded next would overwrite.

For a ViT-L the draws take longer than all that is done to load it (`./run bench loading`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_DRAWS = frozenset((torch.ops.aten.uniform_.default, torch.ops.aten.normal_.default))
# Shapes what was drawn into a normal distribution (truncated ones are made so), and leaves zeros as they are.
_SHAPING = torch.ops.aten.erfinv_.default


class UndrawnWeights(TorchDispatchMode):
    """While it is entered, tensors are filled with zeros where they would be filled at random.

    What is computed otherwise (tables of positions, say) is as ever, and the random state is left alone.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace the draws, and call everything else."""
        if func in _DRAWS:
            return args[0].zero_()
        return args[0] if func is _SHAPING else func(*args, **(kwargs or {}))
