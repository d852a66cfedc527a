"""Attention of teacher and students over chosen images (paper, Figure 3).

Legend: S side of the network's square input.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from wecolora.errors import OutOfRange, UnreadableImage
from wecolora.images import Preprocessing, decode
from wecolora.pictures.figures import DOTS_PER_INCH, Theme
from wecolora.pictures.rollout import DISCARD, attention_grids
from wecolora.teachers import preprocessing_of

MOST_IMAGES = 16
_COLOURS = "inferno"  # even steps for the eye, also for colour-blind people and in print
_STRONGEST = 0.75
# Pixels of the figure's parts.
_CELL, _GAP, _TITLE, _CAPTION = 410, 24, 56, 48


@dataclass(frozen=True)
class AttentionMaps:
    """Rollouts of several models on the same images.

    Attributes:
        models: names, ``teacher`` first.
        readouts: of each model, which row of the rollout is shown.
        files: names of the images.
        views: what the models saw of each image, [S, S, 3] uint8.
        crops: left, top, right and bottom of that view in the whole image, as shares of its width and height.
        grids: by model, then by image: [rows, columns], 0 … 1.
        discard: share of the fused attention that was set to 0.
    """

    models: tuple[str, ...]
    readouts: tuple[str, ...]
    files: tuple[str, ...]
    views: tuple[NDArray[np.uint8], ...]
    crops: tuple[tuple[float, float, float, float], ...]
    grids: tuple[tuple[NDArray[np.floating], ...], ...]
    discard: float

    def to_dict(self) -> dict[str, object]:
        """As JSON values; the pixels stay in the files."""
        return {
            "images": [
                {
                    "file": file,
                    "crop": [round(edge, 4) for edge in crop],
                    "grids": {
                        model: np.round(grids[index].astype(float), 4).tolist()
                        for model, grids in zip(self.models, self.grids, strict=True)
                    },
                }
                for index, (file, crop) in enumerate(zip(self.files, self.crops, strict=True))
            ],
            "readouts": dict(zip(self.models, self.readouts, strict=True)),
            "parameters": {"head_fusion": "max", "discard": self.discard},
        }


def make_attention(
    models: Mapping[str, nn.Module],
    images: Sequence[Path],
    names: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    discard: float = DISCARD,
) -> AttentionMaps:
    """Roll out the attention of every model on every image, as timm evaluates them: resized, cropped at the centre.

    Args:
        models: by name, with the same input; their mode and device are left as they were.
        images: files, at most `MOST_IMAGES`.
        names: to show; those of the files by default.
        device: to compute on.
        discard: see `attention_grids`.

    Raises:
        OutOfRange: no image, or too many.
        UnreadableImage: a file cannot be decoded.
        AttentionUnavailable: a model's attention cannot be read.
    """
    if not 1 <= len(images) <= MOST_IMAGES:
        raise OutOfRange("images", len(images), f"from 1 to {MOST_IMAGES} files", "a row of the picture each")
    preprocessing = preprocessing_of(next(iter(models.values())))
    decoded = [_decode(path) for path in images]
    views = [_view(image, preprocessing) for image in decoded]
    grids, readouts = [], []
    for model in models.values():
        of_model, readout = _of_model(model, views, torch.device(device), discard)
        grids.append(of_model)
        readouts.append(readout)
    return AttentionMaps(
        models=tuple(models),
        readouts=tuple(readouts),
        files=tuple(names) if names is not None else tuple(path.name for path in images),
        views=tuple(views),
        crops=tuple(_crop(image.size, preprocessing) for image in decoded),
        grids=tuple(grids),
        discard=discard,
    )


def draw_attention(maps: AttentionMaps, theme: Theme) -> Figure:
    """Draw a row an image: the image, then what each model attends to, laid over it."""
    columns, rows = 1 + len(maps.models), len(maps.files)
    width, height = columns * (_CELL + _GAP), _TITLE + rows * (_CELL + _CAPTION)
    # Cells are put together here and drawn as one image: axes of their own would take the figure ten times as long.
    canvas = np.full(
        (height, width, 3), [round(255 * part) for part in mpl.colors.to_rgb(theme.paper)], np.uint8
    )
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=(), yticks=())
    for row, (name, view) in enumerate(zip(maps.files, maps.views, strict=True)):
        top = _TITLE + row * (_CELL + _CAPTION)
        cells = [view, *(overlay(view, grids[row]) for grids in maps.grids)]
        for column, cell in enumerate(cells):
            left = column * (_CELL + _GAP) + _GAP // 2
            canvas[top : top + _CELL, left : left + _CELL] = _enlarged(cell)
        label = name if len(name) <= 30 else "…" + name[-29:]
        _write(axes, 0, top + _CELL + _CAPTION / 2, label, 7, theme.faint)
    for column, title in enumerate(("image", *maps.models)):
        _write(axes, column, _TITLE / 2, title, 11, theme.ink)
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    return figure


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.LANCZOS))


def _write(axes: Axes, column: int, y: float, text: str, size: float, colour: str) -> None:
    x = (column + 0.5) * (_CELL + _GAP)
    axes.text(x, y, text, fontsize=size, color=colour, ha="center", va="center", parse_math=False)


def overlay(view: NDArray[np.uint8], grid: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay a grid over an image: the more attention, the more of the colour and the less of the image.

    Args:
        view: [S, S, 3].
        grid: [rows, columns], 0 … 1, enlarged smoothly.

    Returns:
        [S, S, 3].
    """
    size = (view.shape[1], view.shape[0])
    enlarged = Image.fromarray(grid.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(enlarged), 0, 1)
    colours = mpl.colormaps[_COLOURS](heat)[..., :3] * 255
    # The root keeps weak attention visible; the image fades to grey where nothing is looked at.
    strength = (_STRONGEST * np.sqrt(heat))[..., None]
    grey = view.mean(axis=2, keepdims=True) * 0.6 + 0.15 * 255
    mixed = strength * colours + (1 - strength) * grey
    blended: NDArray[np.uint8] = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
    return blended


@torch.no_grad()
def _of_model(
    model: nn.Module, views: Sequence[NDArray[np.uint8]], device: torch.device, discard: float
) -> tuple[tuple[NDArray[np.floating], ...], str]:
    home, mode = next(model.parameters()).device, model.training
    preprocessing = preprocessing_of(model)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    model.to(device).eval()
    grids, readout = [], ""
    try:
        # One at a time: many tokens make large matrices.
        for view in views:
            normalised = (torch.from_numpy(view).permute(2, 0, 1) / 255 - mean) / std
            grid, readout = attention_grids(model, normalised[None].to(device), discard)
            grids.append(grid[0].cpu().numpy())
    finally:
        model.to(home).train(mode)
    return tuple(grids), readout


def _decode(path: Path) -> Image.Image:
    try:
        return decode(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(str(path), str(error) or type(error).__name__) from error


def _view(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """What evaluation shows to the model, before it is normalised."""
    from wecolora.torchvision_compat import v2

    short_side = math.floor(preprocessing.size / preprocessing.crop_pct)
    transform = v2.Compose(
        [
            v2.Resize(short_side, interpolation=preprocessing.filter, antialias=True),
            v2.CenterCrop(preprocessing.size),
        ]
    )
    return np.array(transform(image), dtype=np.uint8)


def _crop(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """The view's edges in the image."""
    share = preprocessing.size / math.floor(preprocessing.size / preprocessing.crop_pct)
    width, height = (share * min(size) / side for side in size)
    return (1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2
