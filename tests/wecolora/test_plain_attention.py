"""Attention by plain products gives what torch's fused attention gives, and stands in for it only where it shall."""

import math

import pytest
import torch
from torch.nn import functional as F

from wecolora.devices import autocast
from wecolora.plain_attention import MOST_TOKENS

CPU = torch.device("cpu")


def heads(tokens, dtype=torch.bfloat16):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, tokens, 16, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def masks(tokens):
    generator = torch.Generator().manual_seed(1)
    seen = torch.rand(2, 1, tokens, tokens, generator=generator) < 0.7
    seen |= torch.eye(tokens, dtype=torch.bool)
    return {"none": None, "bool": seen, "bias": torch.randn(1, 3, tokens, tokens, generator=generator)}


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("mask", ["none", "bool", "bias"])
def test_values_and_gradients_are_those_of_exact_attention(mask, scale):
    short = heads(17)
    chosen = masks(17)[mask]
    with autocast(CPU, "bf16"):
        output = F.scaled_dot_product_attention(*short, attn_mask=chosen, scale=scale)
    output.float().square().sum().backward()
    exact = [one.detach().double().requires_grad_() for one in short]
    bias = chosen.double() if mask == "bias" else chosen
    expected = F.scaled_dot_product_attention(*exact, attn_mask=bias, scale=scale)
    expected.square().sum().backward()
    assert output.dtype is torch.bfloat16
    assert torch.allclose(output.double(), expected, atol=0.03)
    for ours, theirs in zip(short, exact, strict=True):
        assert (ours.grad - theirs.grad).norm() < 0.03 * theirs.grad.norm()


def kernels(run):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    return {event.key for event in profile.key_averages() if "flash" in event.key}


@pytest.mark.parametrize(
    ("precision", "tokens", "options", "fused"),
    [
        ("bf16", MOST_TOKENS, {}, False),
        ("bf16", MOST_TOKENS + 1, {}, True),
        ("bf16", 17, {"is_causal": True}, True),
        ("fp32", 17, {}, True),
    ],
)
def test_long_rows_and_full_precision_keep_the_fused_kernel(precision, tokens, options, fused):
    def attend():
        with autocast(CPU, precision):
            F.scaled_dot_product_attention(*heads(tokens), **options)

    assert bool(kernels(attend)) is fused


def test_a_causal_mask_still_holds():
    first, second = heads(9), heads(9)
    with torch.no_grad():
        second[2][..., -1, :] = math.pi
    with autocast(CPU, "bf16"):
        one, other = (F.scaled_dot_product_attention(*given, is_causal=True) for given in (first, second))
    assert torch.equal(one[..., :-1, :], other[..., :-1, :])
    assert not torch.equal(one[..., -1, :], other[..., -1, :])
