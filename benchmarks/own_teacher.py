"""The options of benchmarks that take any teacher and any images."""

import argparse
from pathlib import Path


def add_teacher_and_images(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark its options for what it distils."""
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--architecture")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--images", type=Path, required=True, help="unlabelled")
    parser.add_argument("--k", type=int, default=64)
