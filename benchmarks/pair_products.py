"""The three ways of a linear layer with low-rank pairs (`wecolora/pair_products.py`), forwards and backwards, by turns.

Prints one line of JSON for every layer, and the machine: median milliseconds of each way, and the one that the engine
would take. ViT-S's layers by default, at 37 and 197 tokens an image.

    ./run bench pair_products
    ./run bench pair_products --width 768 --images 128
"""

import argparse
import json
import statistics
import time
from unittest import mock

import torch

from benchmarks.machine import describe_machine
from wecolora.devices import autocast, resolve_device
from wecolora.low_rank import LoRALinear
from wecolora.pair_products import Way, cheapest_way


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    device = resolve_device(options.device)
    _print({**describe_machine(), "torch_threads": torch.get_num_threads(), "device": device.type})
    width = options.width
    shapes = {
        "qkv": (width, (width,) * 3),
        "proj": (width, (width,)),
        "fc1": (width, (4 * width,)),
        "fc2": (4 * width, (width,)),
    }
    for precision in ("fp32", "bf16"):
        for tokens in options.tokens:
            for name, (columns, splits) in shapes.items():
                layer = LoRALinear(torch.nn.Linear(columns, sum(splits)), options.k, splits).to(device)
                torch.nn.init.normal_(layer.lora_A, std=0.05)
                inputs = torch.randn(options.images, tokens, columns, device=device, requires_grad=True)
                pairs = layer.lora_A.numel() + layer.lora_B.numel()
                rows, matrix = options.images * tokens, layer.base.weight.numel()
                chosen = cheapest_way(rows, matrix, pairs, options.k, gradients=True)
                line = {"precision": precision, "tokens": rows, "layer": name, "chosen": chosen.name}
                times = _by_turns(layer, inputs, precision, options.repeats)
                _print({**line, "ms": {way.name: round(1e3 * seconds, 2) for way, seconds in times.items()}})


def _by_turns(layer: LoRALinear, inputs: torch.Tensor, precision: str, repeats: int) -> dict[Way, float]:
    """Median seconds of a forward and a backward pass."""
    device = inputs.device
    times: dict[Way, list[float]] = {way: [] for way in Way}
    for _ in range(repeats + 1):
        for way, taken in times.items():
            with mock.patch("wecolora.low_rank.cheapest_way", return_value=way):
                started = time.perf_counter()
                with autocast(device, precision):
                    output = layer(inputs)
                output.backward(torch.ones_like(output))
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                taken.append(time.perf_counter() - started)
    return {way: statistics.median(taken[1:]) for way, taken in times.items()}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--k", type=int, default=128)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--tokens", type=int, nargs="+", default=[37, 197], help="of an image")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return parser.parse_args()


def _print(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
