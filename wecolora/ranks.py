"""What one of several processes does of a run: its share of every micro-batch, and the sums over all of them.

The schedule is that of a single process, and every process has the same weights: the gradients of the shares are summed
before a step, so that the run is the same on any number of devices, up to the rounding of a sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wecolora.schedule import Key


@dataclass(frozen=True)
class Ranks:
    """One process among several; alone by default.

    Attributes:
        rank: of this process, counted from 0; the first one delivers.
        size: processes in all.
    """

    rank: int = 0
    size: int = 1

    def share(self, keys: Sequence[Key]) -> list[Key]:
        """This process's part of a micro-batch; sizes differ by one at most, and may be 0."""
        return list(keys[self.rank :: self.size])

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Sum gradients, in place, and loss over all processes.

        A parameter that no process has a gradient for keeps none, so that the optimiser leaves it alone.

        Args:
            parameters: the same ones in every process, in the same order.
            loss: of this process's share, weighted by its size, [].

        Returns:
            The loss of all shares, [].
        """
        if self.size == 1:
            return loss
        # One buffer and so one message a step: gradients, whether there is one, loss.
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        present = loss.new_tensor([float(each.grad is not None) for each in parameters])
        flat = torch.cat([*(each.reshape(-1).float() for each in gradients), present, loss.reshape(1)])
        dist.all_reduce(flat)
        sizes = [*(each.numel() for each in parameters), len(parameters), 1]
        *summed, present, total = torch.split(flat, sizes)
        for parameter, gradient, count in zip(parameters, summed, present.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if count else None
        return total.squeeze()
