"""Photograph-like JPEG files, for speed alone: sizes, detail and compression as photographs have them."""

from pathlib import Path

import numpy as np
from PIL import Image

# The middle of ImageNet's sizes, across and upright.
_SIZES = ((500, 375), (500, 333), (375, 500), (640, 480))


def write_photographs(folder: Path, count: int) -> Path:
    """Write ``count`` JPEGs of about 0.2 megapixels and 40 to 90 kilobytes; the same ones at every call."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        width, height = _SIZES[number % len(_SIZES)]
        image = np.zeros((height, width, 3), dtype=np.float32)
        # Shapes of every size, large ones stronger, as in pictures of the world.
        for cells, strength in ((4, 60), (16, 30), (64, 15), (256, 8)):
            coarse = generator.normal(0, strength, (cells, cells, 3)).astype(np.float32)
            layers = [
                Image.fromarray(coarse[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
                for channel in range(3)
            ]
            image += np.stack([np.asarray(layer) for layer in layers], axis=-1)
        pixels = np.clip(image + 128, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06d}.jpg", quality=90)
    return folder
