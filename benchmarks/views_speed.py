"""What views cost the host: made by Pillow, beside crops that a GPU resamples itself; and on a GPU, what it adds there.

Prints the machine, then a line of JSON for every size: milliseconds of processor time a view, medians of several turns
over photographs of 0.2 megapixels; on a GPU also the milliseconds from the files of a batch to its views there.

    ./run bench views_speed
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.machine import describe_machine
from benchmarks.made_images import write_photographs
from wecolora.devices import resolve_device
from wecolora.images import Preprocessing, load_images
from wecolora.views import AugmentedImages

_TURNS = 9
_TOGETHER = 32


def main() -> None:
    """Run with the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 224])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    device = resolve_device(options.device)
    print(json.dumps({**describe_machine(), "device": device.type}), flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_photographs(Path(scratch), options.images)
        for size in options.sizes:
            views = AugmentedImages(load_images(folder, size), Preprocessing(size), seed=0)
            print(json.dumps({"size": size, **_measured(views, device)}), flush=True)  # noqa: T201


def _measured(views: AugmentedImages, device: torch.device) -> dict[str, float]:
    keys = [(0, index) for index in range(len(views))]
    parts = [keys[start : start + _TOGETHER] for start in range(0, len(keys), _TOGETHER)]
    ways: dict[str, Callable[[], object]] = {
        "pillow": lambda: views.by_pillow(keys),
        "crops": lambda: [views.staged(part, pinned=False) for part in parts],
    }
    turns = [{name: _processor_seconds(make) for name, make in ways.items()} for _ in range(_TURNS)]
    each = {name: 1e3 * statistics.median(turn[name] for turn in turns) / len(keys) for name in ways}
    line = {f"{name}_ms": round(value, 3) for name, value in each.items()}
    line["pillow_by_crops"] = round(statistics.median(turn["pillow"] / turn["crops"] for turn in turns), 2)
    if device.type == "cuda":
        line["gpu_ms"] = round(1e3 * statistics.median(_seconds_there(views, keys, device)) / len(keys), 3)
    return line


def _processor_seconds(make: Callable[[], object]) -> float:
    """Of all threads."""
    started = time.process_time()
    make()
    return time.process_time() - started


def _seconds_there(views: AugmentedImages, keys: list[tuple[int, int]], device: torch.device) -> list[float]:
    taken = []
    for _ in range(_TURNS):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        views.batch(keys, device)
        torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return taken


if __name__ == "__main__":
    main()
