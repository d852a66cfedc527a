"""Photograph-like JPEG files, for speed alone: sizes, detail and compression as photographs have them."""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

Kind = Literal["small", "medium", "large"]
_SIZES: dict[Kind, tuple[tuple[int, int], ...]] = {
    # The middle of ImageNet's sizes, across and upright.
    "small": ((500, 375), (500, 333), (375, 500), (640, 480)),
    "medium": ((1632, 1224), (1224, 1632)),
    "large": ((4000, 3000), (3000, 4000)),
}
# Cells of a layer and how strong it is: shapes of every size, large ones stronger, as in pictures of the world.
_LAYERS = ((4, 60), (16, 30), (64, 15), (256, 8))
_FINER_LAYERS: dict[Kind, tuple[tuple[int, int], ...]] = {
    "small": (),
    "medium": ((836, 6),),
    "large": ((2048, 6),),
}


def write_photographs(folder: Path, count: int, kind: Kind = "small") -> Path:
    """Write ``count`` JPEGs; the same ones at every call.

    Small ones have about 0.2 megapixels and 40 to 90 kilobytes, medium ones 2 megapixels, large ones 12 megapixels and
    some megabytes.
    """
    sizes, layers_of = _SIZES[kind], (*_LAYERS, *_FINER_LAYERS[kind])
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        width, height = sizes[number % len(sizes)]
        image = np.zeros((height, width, 3), dtype=np.float32)
        for cells, strength in layers_of:
            coarse = generator.normal(0, strength, (cells, cells, 3)).astype(np.float32)
            layers = [
                Image.fromarray(coarse[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
                for channel in range(3)
            ]
            image += np.stack([np.asarray(layer) for layer in layers], axis=-1)
        pixels = np.clip(image + 128, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06d}.jpg", quality=90)
    return folder
