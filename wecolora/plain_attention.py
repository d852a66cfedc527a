"""Attention as plain matrix products where torch's fused kernel is the slower one.

torch's fused attention for bfloat16 on the CPU saves memory, not time: on a processor with AVX512-BF16 it takes longer,
forwards and backwards, than plain products with a softmax between them (`benchmarks/attention_speed.py`, and its
results). Where the matrices of N × N are small enough to be kept, plain products are taken.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Longer rows of tokens keep the fused kernel: the plain products keep N × N numbers a head for the backward pass.
MOST_TOKENS = 300


class PlainAttention(TorchFunctionMode):
    """While it is entered, short rows of tokens in bfloat16 on the CPU attend by plain products."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace one function, and call all the others."""
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> Tensor:
    """softmax(s·q·kᵀ + mask)·v, [..., N, D / H]; ``more`` may hold the scale s."""
    length = max(query.shape[-2], key.shape[-2])
    short = length <= MOST_TOKENS and query.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not short or dropout_p or is_causal or more.get("enable_gqa"):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **more)
    scale = more.get("scale")
    logits = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-2, -1)
    if attn_mask is not None:
        unseen = attn_mask.dtype is torch.bool
        logits = logits.masked_fill(~attn_mask, -math.inf) if unseen else logits + attn_mask
    return logits.softmax(dim=-1).to(value.dtype) @ value
