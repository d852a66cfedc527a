"""How long does loading a teacher take, with and without drawing the weights that are overwritten?

A folder of timm's, as `load_teacher` reads it, and the same with the draws, by turns. Prints JSON lines: the machine,
then the median seconds of each network.

    ./run bench loading
"""

import argparse
import json
import statistics
import tempfile
import time
from contextlib import nullcontext
from unittest import mock

from benchmarks.machine import describe_machine
from wecolora.teachers import load_teacher
from wecolora.torchvision_compat import timm


def main() -> None:
    """Run with the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = [f"vit_{size}_patch16_224" for size in ("small", "base", "large")]
    parser.add_argument("--models", nargs="+", default=models)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(describe_machine()))  # noqa: T201
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            timm.models.save_for_hf(timm.create_model(model), folder, safe_serialization=True)
            seconds: dict[str, list[float]] = {"load_teacher": [], "with draws": []}
            for _ in range(options.repeats):
                seconds["load_teacher"].append(_seconds(folder))
                with mock.patch("wecolora.teachers.UndrawnWeights", nullcontext):
                    seconds["with draws"].append(_seconds(folder))
        medians = {name: round(statistics.median(taken), 2) for name, taken in seconds.items()}
        print(json.dumps({"model": model, "seconds": medians}), flush=True)  # noqa: T201


def _seconds(folder: str) -> float:
    started = time.perf_counter()
    load_teacher(folder)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
