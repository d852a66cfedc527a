"""A linear layer with low-rank pairs as one product with W + B·A, and the gradients of A and B alone.

There are three ways to the same numbers, up to rounding. For T tokens, with W of d_out · d_in numbers and P numbers in
A and B together, a forward and a backward pass take so many multiply-accumulates:

| way | forward | gradient of the tokens | gradients of A and B |
|---|---|---|---|
| `SEPARATE`: W·x + B·(A·x) | T·W + T·P | T·W + T·P | T·P |
| `BY_PAIRS`: (W + B·A)·x | T·W + K·W | T·W | 2·T·P, through A·x and Bᵀ·∂y |
| `BY_MATRIX`: (W + B·A)·x | T·W + K·W | T·W | T·W + 2·K·W, through the gradient of W + B·A |

Few tokens or a small K leave the pairs separate, many tokens and a large K want the matrix. The latter two also keep no
A·x for the backward pass, and make few wide products instead of many narrow ones.

Legend: T tokens, K rank, G adapted projections stacked in one layer, each with a pair of its own.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor


class Way(Enum):
    """How the product and its gradients are computed."""

    SEPARATE = auto()
    BY_PAIRS = auto()
    BY_MATRIX = auto()


def cheapest_way(tokens: int, matrix: int, pairs: int, lora_rank: int, *, gradients: bool) -> Way:
    """The way with the fewest multiply-accumulates.

    Args:
        tokens: T, rows of the input.
        matrix: numbers in W.
        pairs: numbers in A and B.
        lora_rank: K.
        gradients: of A and B are wanted.
    """
    merge = lora_rank * matrix
    costs = {Way.SEPARATE: tokens * pairs, Way.BY_PAIRS: merge}
    if gradients:
        costs = {
            Way.SEPARATE: 3 * tokens * pairs,
            Way.BY_PAIRS: merge + 2 * tokens * pairs,
            Way.BY_MATRIX: 3 * merge + tokens * matrix,
        }
    return min(costs, key=lambda way: costs[way])


class MergedProduct(torch.autograd.Function):
    """x·(W + s·B·A)ᵀ + b, with gradients to x, A and B; W and b are frozen."""

    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        lora_A: Tensor,
        lora_B: Tensor,
        scale: float,
        rows: Sequence[slice],
        way: Way,
    ) -> Tensor:
        """Multiply.

        Args:
            ctx: of autograd.
            x: [..., d_in], in the type that is computed in.
            weight: W, [d_out, d_in].
            bias: b, [d_out].
            lora_A: [G·K, d_in].
            lora_B: [widths of the adapted projections together, K].
            scale: s.
            rows: of W, of each adapted projection, G of them.
            way: that the gradients take.
        """
        lowered_A, lowered_B = lora_A.to(x.dtype), lora_B.to(x.dtype)
        # Summed in W's type and written in that of x, in one pass over W.
        merged = torch.empty_like(weight, dtype=x.dtype)
        if sum(place.stop - place.start for place in rows) < len(weight):
            merged.copy_(weight)
        for place, columns, own in _pairs(lowered_A, lowered_B, rows):
            torch.add(weight[place], own @ columns, alpha=scale, out=merged[place])
        ctx.save_for_backward(x, merged, lowered_A, lowered_B)
        ctx.scale, ctx.rows, ctx.way = scale, rows, way
        return torch.nn.functional.linear(x, merged, None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients to x, A and B."""
        x, merged, lora_A, lora_B = ctx.saved_tensors
        of_output = gradients[0].flatten(0, -2)
        inputs = x.flatten(0, -2)
        of_inputs = (of_output @ merged).view_as(x) if ctx.needs_input_grad[0] else None
        of_matrix = of_output.t() @ inputs if ctx.way is Way.BY_MATRIX else None
        of_A, of_B = [], []
        for place, columns, own in _pairs(lora_A, lora_B, ctx.rows):
            if of_matrix is not None:
                of_A.append(own.t() @ of_matrix[place])
                of_B.append(of_matrix[place] @ columns.t())
            else:
                part = of_output[:, place]
                of_A.append((part @ own).t() @ inputs)
                of_B.append(part.t() @ (inputs @ columns.t()))
        return (
            of_inputs,
            None,
            None,
            ctx.scale * torch.cat(of_A),
            ctx.scale * torch.cat(of_B),
            None,
            None,
            None,
        )


def _pairs(lora_A: Tensor, lora_B: Tensor, rows: Sequence[slice]) -> list[tuple[slice, Tensor, Tensor]]:
    """Rows of W, A's part and B's part of every adapted projection."""
    own = torch.split(lora_B, [place.stop - place.start for place in rows])
    columns = torch.split(lora_A, lora_B.shape[1])
    return list(zip(rows, columns, own, strict=True))
