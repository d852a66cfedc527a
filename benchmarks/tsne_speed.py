"""How long does t-SNE of so many images take, principal components included?

Features around the centres of ten classes, as wide as ViT-B's. Prints one line of JSON for every number of points.

    ./run bench tsne_speed
"""

import argparse
import json
import time

import numpy as np

from benchmarks.machine import describe_machine
from wecolora.pictures.tsne import MOST_POINTS, make_maps


def main() -> None:
    """Run with the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, nargs="+", default=[1000, MOST_POINTS])
    parser.add_argument("--width", type=int, default=768)
    options = parser.parse_args()
    print(json.dumps(describe_machine()), flush=True)  # noqa: T201
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(10, options.width))
    for count in options.points:
        labels = generator.integers(10, size=count)
        features = (centres[labels] + generator.normal(scale=2, size=(count, options.width))).astype(
            np.float32
        )
        started, used = time.perf_counter(), time.process_time()
        names = [str(number) for number in range(count)]
        make_maps({"teacher": features}, labels, [str(each) for each in range(10)], names)
        line = {
            "points": count,
            "seconds": round(time.perf_counter() - started, 1),
            "processor_seconds": round(time.process_time() - used, 1),
        }
        print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
