"""Unlabelled images: found in a folder, decoded once.

Legend: S side of the network's square input.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from wecolora.decoded import DecodedImages, InFile, Place
from wecolora.errors import NoImages
from wecolora.pixels import FORMATS, to_plain
from wecolora.schedule import mix_seed
from wecolora.torchvision_compat import InterpolationMode, v2

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
# Smallest share of the area that a random crop keeps (MAE's weak augmentation; paper, Section 4.2).
SMALLEST_CROP = 0.2


@dataclass(frozen=True)
class Preprocessing:
    """What the teacher was trained to see, from its timm configuration.

    Attributes:
        size: S in pixels.
        mean: of each channel, of values in 0 … 1.
        std: of each channel.
        interpolation: timm's name of the resampling filter.
        crop_pct: share of the resized image that evaluation's centre crop keeps.
    """

    size: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875

    @property
    def filter(self) -> InterpolationMode:
        """The resampling filter; bicubic where timm leaves it open."""
        known = {mode.value: mode for mode in InterpolationMode}
        return known.get(self.interpolation, InterpolationMode.BICUBIC)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used, and why."""

    path: str
    reason: str


@dataclass
class ImageSet:
    """Images that are decoded once, or anew at each visit where there is no room for them.

    Attributes:
        paths: the usable files, in a stable order.
        decoded: the images.
        places: of each of them there.
        skipped: files that could not be decoded, by name.
        short_side: that images were shrunk to, in pixels.
    """

    paths: list[Path]
    decoded: DecodedImages
    places: list[Place] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    short_side: int | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, index: int) -> np.ndarray:
        """One image in RGB, [H, W, 3] uint8."""
        place = self.places[index]
        if place is None:
            return np.asarray(decode(self.paths[index], self.short_side))
        return self.decoded.read(place) if isinstance(place, InFile) else place

    def image(self, index: int) -> Image.Image:
        """The same as a picture."""
        return Image.fromarray(self.pixels(index))

    def subset(self, ratio: float, seed: int) -> "ImageSet":
        """A random share α of the images of every folder, at least one of each (paper, Section 4).

        Where the images lie in class folders, every class keeps its share, as in the authors' subsets of ImageNet.
        """
        if ratio == 1.0:
            return self
        generator = torch.Generator().manual_seed(mix_seed(seed, 0xA1FA))
        folders: dict[Path, list[int]] = {}
        for index, path in enumerate(self.paths):
            folders.setdefault(path.parent, []).append(index)
        chosen = sorted(
            members[place]
            for members in folders.values()
            for place in torch.randperm(len(members), generator=generator)[
                : max(1, round(ratio * len(members)))
            ].tolist()
        )
        return ImageSet(
            [self.paths[index] for index in chosen],
            self.decoded,
            [self.places[index] for index in chosen],
            self.skipped,
            self.short_side,
        )


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, sorted by path, hidden files and folders left out.

    Raises:
        NoImages: when there are none.
    """
    if not folder.is_dir():
        raise NoImages(str(folder))
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        raise NoImages(str(folder))
    return found


def load_images(
    folder: Path,
    size: int,
    decoded: DecodedImages | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    smallest_crop: float = SMALLEST_CROP,
) -> ImageSet:
    """Decode every image of a folder once, and keep it where there is room.

    Images are kept no larger than the augmentation can use: where a crop keeps at least a fifth of the area, a short
    side of S / √0.2 never has to be enlarged more than the original would be.

    Args:
        folder: searched with all its subfolders.
        size: S.
        decoded: keeps them; None for a new keeper with its own limits. What it does not take is decoded at every visit.
        on_progress: called with (decoded, found) from time to time.
        smallest_crop: smallest share of the area that a view shows.

    Raises:
        NoImages: when no file can be decoded.
    """
    paths = find_images(folder)
    short_side = math.ceil(size / math.sqrt(smallest_crop))
    result = ImageSet([], decoded or DecodedImages(), short_side=short_side)

    def attempt(path: Path) -> np.ndarray | Skipped:
        try:
            return np.asarray(decode(path, short_side))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = str(error) or type(error).__name__
            # Pillow names the whole path, which is nobody's business but this machine's.
            return Skipped(str(path.relative_to(folder)), reason.replace(str(path), path.name))

    with ThreadPoolExecutor() as pool:
        # A bounded window, so that a hundred thousand images are never all in memory at once.
        for start in range(0, len(paths), 64):
            window = paths[start : start + 64]
            for path, outcome in zip(window, pool.map(attempt, window), strict=True):
                if isinstance(outcome, Skipped):
                    result.skipped.append(outcome)
                    continue
                result.paths.append(path)
                result.places.append(result.decoded.keep(outcome))
            if on_progress is not None:
                on_progress(min(start + 64, len(paths)), len(paths))
    if not result.paths:
        raise NoImages(str(folder), skipped=len(result.skipped))
    return result


def decode(path: Path, short_side: int | None = None) -> Image.Image:
    """Read one image as RGB: first frame, EXIF rotation applied, alpha on white, 16 bit scaled to 8.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file, whatever its name says.
        short_side: shrink so that the shorter side has this many pixels, never enlarge.
    """
    with Image.open(path, formats=FORMATS) as image:
        if short_side is not None and image.format == "JPEG":
            image.draft("RGB", _shrunk(image.size, short_side))
        upright = ImageOps.exif_transpose(image)
        rgb = to_plain(upright).convert("RGB")
    if short_side is not None and min(rgb.size) > short_side:
        rgb = rgb.resize(_shrunk(rgb.size, short_side), Image.Resampling.BICUBIC)
    return rgb


class PlainImages(Dataset[Tensor]):
    """Resized, centre-cropped and normalised images, as timm evaluates the teacher."""

    def __init__(self, paths: Sequence[Path], preprocessing: Preprocessing) -> None:
        self.paths = list(paths)
        resized = math.floor(preprocessing.size / preprocessing.crop_pct)
        self.transform = v2.Compose(
            [
                v2.Resize(resized, interpolation=preprocessing.filter, antialias=True),
                v2.CenterCrop(preprocessing.size),
                v2.PILToTensor(),
                *to_normalised(preprocessing),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """One image, [3, S, S]."""
        view: Tensor = self.transform(decode(self.paths[index]))
        return view


def to_normalised(preprocessing: Preprocessing) -> list[torch.nn.Module]:
    """From bytes to what the networks read."""
    return [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=list(preprocessing.mean), std=list(preprocessing.std)),
    ]


def _shrunk(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    scale = min(1.0, short_side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
