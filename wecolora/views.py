"""Augmented views of unlabelled images: the same in every run, made by Pillow on the host or by products on a GPU.

Legend: B views, S side of the network's square input.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wecolora.images import SMALLEST_CROP, ImageSet, Preprocessing, to_normalised
from wecolora.resampling import resampled
from wecolora.schedule import Key, mix_seed
from wecolora.torchvision_compat import v2

# Width by height of a crop, and how often one is drawn that fits (torchvision's `RandomResizedCrop`).
_RATIOS = (3 / 4, 4 / 3)
_LOG_RATIOS = tuple(torch.log(torch.tensor(_RATIOS)).tolist())
_CROP_ATTEMPTS = 10
# Views that are resampled together: enough to fill a GPU, few enough that their filters' weights take little of it.
_TOGETHER = 32
_HOST = torch.device("cpu")


@dataclass(frozen=True)
class Crop:
    """Part of an image that a view shows.

    Attributes:
        pixels: [h, w, 3] uint8.
        flipped: shown from right to left.
    """

    pixels: np.ndarray
    flipped: bool


class AugmentedImages:
    """Randomly cropped, flipped and normalised views; a view is a function of (seed, its number, image) alone.

    So neither the number of threads, nor the micro-batch, nor a resumed run changes what the student sees. The same
    view goes to teacher and student (weak augmentation as in MAE; paper, Section 4.2).

    A processor's views are Pillow's. A GPU is sent the crops as they are and resamples them itself (`resampled`), which
    takes the host a fraction of the time; levels may differ by rounding.

    Args:
        images: to make views of.
        preprocessing: of the teacher.
        seed: of the views.
        smallest_crop: smallest share of the area that a view shows.
    """

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        seed: int,
        smallest_crop: float = SMALLEST_CROP,
    ) -> None:
        self.images = images
        self.seed = seed
        self.size = preprocessing.size
        self.smallest_crop = smallest_crop
        self.filter = Image.Resampling[preprocessing.filter.name.removesuffix("_EXACT")]
        self.normalise = v2.Compose(to_normalised(preprocessing))
        self._threads: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> Tensor:
        """One view of one image, normalised, [3, S, S], on the host."""
        return self.batch([key])[0]

    def batch(self, keys: Sequence[Key], device: torch.device = _HOST) -> Tensor:
        """Several views, normalised, [B, 3, S, S], on a device."""
        views = self.by_products(keys, device) if device.type == "cuda" else self.by_pillow(keys).to(device)
        normalised: Tensor = self.normalise(views)
        return normalised

    def by_pillow(self, keys: Sequence[Key]) -> Tensor:
        """Views made on the host, [B, 3, S, S] uint8; by as many threads as torch uses."""
        views = np.stack(list(self._pool.map(self._view, keys)))
        return torch.from_numpy(views).permute(0, 3, 1, 2).contiguous()

    def by_products(self, keys: Sequence[Key], device: torch.device) -> Tensor:
        """Views made on a device, [B, 3, S, S] uint8, without waiting for it."""
        parts = [keys[start : start + _TOGETHER] for start in range(0, len(keys), _TOGETHER)]
        return torch.cat([self._resampled(part, device) for part in parts]).contiguous()

    def staged(self, keys: Sequence[Key], *, pinned: bool) -> tuple[Tensor, Tensor]:
        """Crops as they are sent to a device, each in the corner of an array that holds the largest.

        Args:
            keys: of the views, B of them.
            pinned: in memory from which a GPU copies by itself, while the host goes on.

        Returns:
            Crops, [B, H, W, 3] uint8, and a row each of heights, widths, and whether a view is flipped, [3, B].
        """
        crops = list(self._pool.map(self.crop, keys))
        heights, widths = zip(*(crop.pixels.shape[:2] for crop in crops), strict=True)
        shape = (len(crops), max(heights), max(widths), 3)
        together = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        array = together.numpy()

        def place(number: int) -> None:
            array[number, : heights[number], : widths[number]] = crops[number].pixels

        list(self._pool.map(place, range(len(crops))))
        sizes = [heights, widths, [crop.flipped for crop in crops]]
        return together, torch.tensor(sizes, pin_memory=pinned)

    def crop(self, key: Key) -> Crop:
        """What a view shows, as large as it is in its image."""
        view_number, index = key
        pixels = self.images.pixels(index)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, view_number, index))
        high, wide, _ = pixels.shape
        top, left, height, width = _draw_crop(high, wide, self.smallest_crop, generator)
        flipped = bool(torch.rand(1, generator=generator) < 0.5)
        return Crop(pixels[top : top + height, left : left + width], flipped)

    def _view(self, key: Key) -> np.ndarray:
        """One view, [S, S, 3] uint8. Of Pillow's steps, those that take time leave other threads to run."""
        crop = self.crop(key)
        view = np.asarray(Image.fromarray(crop.pixels).resize((self.size, self.size), self.filter))
        return view[:, ::-1] if crop.flipped else view

    def _resampled(self, keys: Sequence[Key], device: torch.device) -> Tensor:
        on_gpu = device.type == "cuda"
        crops, sizes = self.staged(keys, pinned=on_gpu)
        heights, widths, flipped = sizes.to(device, non_blocking=True)
        # A GPU sums products of half precision, which holds every level, in single precision.
        dtype = torch.float16 if on_gpu else torch.float32
        crops = crops.to(device, non_blocking=True)
        views = resampled(crops, heights, widths, self.size, self.filter, dtype)
        return torch.where(flipped.bool()[:, None, None, None], views.flip(-1), views)

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(torch.get_num_threads())
        return self._threads


def _draw_crop(
    height: int, width: int, smallest: float, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of torchvision's `RandomResizedCrop`, from a generator of one's own.

    torchvision draws from the process's one generator, which threads cannot share.
    """

    def uniform(low: float, high: float) -> float:
        return torch.empty(1).uniform_(low, high, generator=generator).item()

    def start(room: int) -> int:
        return int(torch.randint(0, room + 1, size=(1,), generator=generator).item())

    for _ in range(_CROP_ATTEMPTS):
        area = height * width * uniform(smallest, 1.0)
        ratio = torch.exp(torch.tensor(uniform(*_LOG_RATIOS))).item()
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return start(height - high), start(width - wide), high, wide
    # No such crop fits into a very long image: the middle of it.
    shape = width / height
    wide = width if shape <= _RATIOS[1] else round(height * _RATIOS[1])
    high = height if shape >= _RATIOS[0] else round(width / _RATIOS[0])
    return (height - high) // 2, (width - wide) // 2, high, wide
