"""How long does a probe take on features that are there already?

Synthetic features, 50,000 images of 100 classes by default (CIFAR-100's size), 768 wide (ViT-B's). Prints one line of
JSON a protocol, and the machine.

    ./run bench probe_speed
    ./run bench probe_speed --images 10000 --protocols lars ridge knn logistic
"""

import argparse
import json
import time

import numpy as np
import torch

import wecolora
from benchmarks.machine import describe_machine


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    torch.set_num_threads(options.threads)
    print(json.dumps({**describe_machine(), "torch_threads": torch.get_num_threads()}), flush=True)  # noqa: T201
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(options.classes, options.width)).astype(np.float32)
    train, test = (_draw(generator, centres, count) for count in (options.images, options.images // 5))
    for protocol in options.protocols:
        started, used = time.perf_counter(), time.process_time()
        result = wecolora.probe_features(*train, *test, protocol=protocol)
        line = {
            "protocol": protocol,
            "images": options.images,
            "width": options.width,
            "classes": options.classes,
            "seconds": round(time.perf_counter() - started, 1),
            # Of all threads: on a busy machine the clock says more about its other work.
            "processor_seconds": round(time.process_time() - used, 1),
            "accuracy": result.accuracy,
            "learning_rate": result.learning_rate,
            "epoch": result.epoch,
        }
        print(json.dumps(line), flush=True)  # noqa: T201


def _draw(generator: np.random.Generator, centres: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Features around their class's centre, with noise that lets some be mistaken, and their labels."""
    labels = generator.integers(len(centres), size=count)
    noise = generator.normal(scale=7.0, size=(count, centres.shape[1])).astype(np.float32)
    return centres[labels] + noise, labels


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--protocols", nargs="+", default=["lars", "ridge", "knn"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
