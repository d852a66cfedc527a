"""Fused attention against plain products, forwards and backwards, in bfloat16 on the CPU.

Prints one line of JSON for every number of tokens, and the machine; the ratio is what `wecolora/plain_attention.py`
rests on.

    ./run bench attention_speed
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn import functional as F

from benchmarks.machine import describe_machine
from wecolora.plain_attention import PlainAttention


def main() -> None:
    """Run with the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[17, 65, 197, 257, 577])
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--width", type=int, default=64, help="of a head")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps({**describe_machine(), "torch_threads": torch.get_num_threads()}), flush=True)  # noqa: T201
    for tokens in options.tokens:
        images = max(2, 3200 // tokens)
        fused, plain = _both(images, options.heads, tokens, options.width)
        line = {
            "tokens": tokens,
            "images": images,
            "fused_ms": round(1e3 * fused, 2),
            "plain_ms": round(1e3 * plain, 2),
            "ratio": round(fused / plain, 2),
        }
        print(json.dumps(line), flush=True)  # noqa: T201


def _both(images: int, heads: int, tokens: int, width: int) -> tuple[float, float]:
    """Median seconds of fused and of plain attention, taken in turns."""
    query, key, value = (
        torch.randn(images, heads, tokens, width, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)
    )

    def attend(mode: Callable[[], AbstractContextManager[object]]) -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16), mode():
            output = F.scaled_dot_product_attention(query, key, value)
        output.sum().backward()  # type: ignore[no-untyped-call]
        return time.perf_counter() - started

    rounds = [(attend(nullcontext), attend(PlainAttention)) for _ in range(12)][2:]
    fused, plain = zip(*rounds, strict=True)
    return statistics.median(fused), statistics.median(plain)


if __name__ == "__main__":
    main()
