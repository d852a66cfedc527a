"""Unlabelled images: found in a folder, decoded once, augmented the same way in every run.

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
# Width by height of a crop, and how often one is drawn that fits (torchvision's `RandomResizedCrop`).
_RATIOS = (3 / 4, 4 / 3)
_LOG_RATIOS = tuple(torch.log(torch.tensor(_RATIOS)).tolist())
_CROP_ATTEMPTS = 10


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


class AugmentedImages(Dataset[Tensor]):
    """Randomly cropped, flipped and normalised views; a view is a function of (seed, its number, image) alone.

    So neither the number of loader processes or threads, nor the micro-batch, nor a resumed run changes what the
    student sees. The same view goes to teacher and student (weak augmentation as in MAE; paper, Section 4.2).

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
        self.normalise = v2.Compose(_to_normalised(preprocessing))
        self._threads: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        """One view of one image, normalised, [3, S, S]; ``key`` is (view, image)."""
        return self.batch([key])[0]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Tensor:
        """Several views as they come from a loader process, [B, 3, S, S] uint8."""
        return torch.from_numpy(np.stack([self._view(key) for key in keys])).permute(0, 3, 1, 2)

    def batch(self, keys: Sequence[tuple[int, int]]) -> Tensor:
        """Several views, normalised, [B, 3, S, S]; made by as many threads as torch uses."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(torch.get_num_threads())
        views = np.stack(list(self._threads.map(self._view, keys)))
        return self.normalised(torch.from_numpy(views).permute(0, 3, 1, 2))

    def normalised(self, views: Tensor) -> Tensor:
        """What the networks read of uint8 views, on the views' device."""
        normalised: Tensor = self.normalise(views.contiguous())
        return normalised

    def _view(self, key: tuple[int, int]) -> np.ndarray:
        """One view, [S, S, 3] uint8. Of PIL's steps, those that take time leave other threads to run."""
        view_number, index = key
        pixels = self.images.pixels(index)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, view_number, index))
        high, wide, _ = pixels.shape
        top, left, height, width = _draw_crop(high, wide, self.smallest_crop, generator)
        crop = Image.fromarray(pixels[top : top + height, left : left + width])
        view = np.asarray(crop.resize((self.size, self.size), self.filter))
        flipped = bool(torch.rand(1, generator=generator) < 0.5)
        return view[:, ::-1] if flipped else view


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
                *_to_normalised(preprocessing),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """One image, [3, S, S]."""
        view: Tensor = self.transform(decode(self.paths[index]))
        return view


def _to_normalised(preprocessing: Preprocessing) -> list[torch.nn.Module]:
    return [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=list(preprocessing.mean), std=list(preprocessing.std)),
    ]


def _shrunk(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    scale = min(1.0, short_side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
