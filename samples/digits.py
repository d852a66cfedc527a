"""Write scikit-learn's handwritten digits as the image folders that the rest of the project works on.

1,797 real scans, 8 x 8 pixels in 17 shades of grey, travel inside scikit-learn, so this needs no network.
Three parts, none sharing an image with another, always the same ones:

- ``train/CLASS/``: what the sample's teacher was trained on, and what a linear probe is fitted to;
- ``unlabelled/``: what a student is distilled on; the names of its files say nothing of the class;
- ``test/CLASS/``: only ever used to measure.

Each scan is enlarged to 32 x 32 (bicubic), the input size of the sample's teacher, and kept as greyscale PNG.
The data set does not say who wrote which digit, so the parts share writers.

Usage: ``python -m samples.digits FOLDER``
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

Part = Literal["train", "unlabelled", "test"]

CLASS_NAMES = tuple("0123456789")
IMAGE_SIZE = 32
TRAIN_IMAGES = 900
UNLABELLED_IMAGES = 400
_SPLIT_SEED = 20251
_WHITE = 16  # the brightest shade in the data set


@dataclass(frozen=True)
class DigitsFolders:
    """Where `write_digits` put each part."""

    train: Path
    unlabelled: Path
    test: Path


@dataclass(frozen=True)
class Digits:
    """One part of the data set in memory, in a fixed order.

    Attributes:
        images: [n, 32, 32], uint8.
        labels: [n], the digit, which is also the index into `CLASS_NAMES`.
        indices: [n], the position in scikit-learn's data set.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]


def load_part(part: Part) -> Digits:
    """Read one part of the data set; see the module's docstring for what each is for."""
    digits = load_digits()
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(digits.target))
    bounds = {
        "train": slice(0, TRAIN_IMAGES),
        "unlabelled": slice(TRAIN_IMAGES, TRAIN_IMAGES + UNLABELLED_IMAGES),
        "test": slice(TRAIN_IMAGES + UNLABELLED_IMAGES, None),
    }
    indices = order[bounds[part]]
    return Digits(
        images=np.stack([_enlarge(scan) for scan in digits.images[indices]]),
        labels=digits.target[indices].astype(np.int64),
        indices=indices,
    )


def write_digits(folder: Path) -> DigitsFolders:
    """Write all three parts under `folder` and say where they are.

    Writing twice gives the same files again, byte for byte.
    """
    folders = DigitsFolders(folder / "train", folder / "unlabelled", folder / "test")
    _write_part(load_part("train"), folders.train, labelled=True)
    _write_part(load_part("unlabelled"), folders.unlabelled, labelled=False)
    _write_part(load_part("test"), folders.test, labelled=True)
    return folders


def _enlarge(scan: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring one 8 x 8 scan in 0..16 to 32 x 32 in 0..255."""
    pixels = np.rint(scan * (255 / _WHITE)).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def _write_part(part: Digits, folder: Path, *, labelled: bool) -> None:
    # Numbered in this part's own order: scikit-learn's begins 0, 1, 2, … and would give the class away.
    for number, (pixels, label) in enumerate(zip(part.images, part.labels, strict=True)):
        target = folder / CLASS_NAMES[label] if labelled else folder
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target / f"digit-{number:04d}.png")


def main() -> None:
    """Write the digits to the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Write the handwritten digits as folders of PNG files.")
    parser.add_argument("folder", type=Path)
    folders = write_digits(parser.parse_args().folder)
    for part in (folders.train, folders.unlabelled, folders.test):
        print(f"{part}: {sum(1 for _ in part.rglob('*.png'))} images")  # noqa: T201


if __name__ == "__main__":
    main()
