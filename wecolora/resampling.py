"""Many crops resampled at once on any device, each by two products with matrices of filter weights.

Pillow's resampling is separable: a row of the result is a weighted sum of few rows of the crop. Written as matrices,
mostly zeros, it is what a GPU is fastest at: at S = 224 some 0.5 GFLOP a view, where teacher and student of ViT-B take
79. The weights are those of Pillow's convolution (Resample.c). The result is rounded to whole levels once, as Pillow
does for images of floats; for images of bytes Pillow rounds and clips between its two passes as well, so that a view
differs by a level here and there, and by more where a sharp edge makes the first pass overshoot.

Legend: B views, H and W height and width of the largest crop, S side of a view.
"""

import math
from collections.abc import Callable

import torch
from PIL.Image import Resampling
from torch import Tensor


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2."""
    near = x.abs()
    inside = (1.5 * near - 2.5) * near**2 + 1
    outside = ((-0.5 * near + 2.5) * near - 4) * near + 2
    return torch.where(near < 1, inside, outside * (near < 2))


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).to(x.dtype)


def _hamming(x: Tensor) -> Tensor:
    return torch.sinc(x) * (0.54 + 0.46 * torch.cos(math.pi * x)) * (x.abs() < 1)


def _lanczos(x: Tensor) -> Tensor:
    return torch.sinc(x) * torch.sinc(x / 3) * (x.abs() < 3)


# How far each reaches, in pixels of the coarser grid, and its weight at a distance.
_FILTERS: dict[Resampling, tuple[float, Callable[[Tensor], Tensor]]] = {
    Resampling.BOX: (0.5, _box),
    Resampling.BILINEAR: (1.0, _triangle),
    Resampling.HAMMING: (1.0, _hamming),
    Resampling.BICUBIC: (2.0, _cubic),
    Resampling.LANCZOS: (3.0, _lanczos),
}


def resampled(
    crops: Tensor,
    heights: Tensor,
    widths: Tensor,
    side: int,
    kind: Resampling,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Crops of any sizes as views of one.

    Args:
        crops: [B, H, W, 3] uint8; what lies beyond a crop's own height and width is not looked at.
        heights: of the crops, [B].
        widths: of the crops, [B].
        side: S.
        kind: the filter.
        dtype: of the products.

    Returns:
        [B, 3, S, S] uint8.
    """
    count, high, wide, _ = crops.shape
    across = _weights(widths, wide, side, kind).to(dtype)
    down = _weights(heights, high, side, kind).to(dtype)
    levels = crops.permute(0, 1, 3, 2).to(dtype).reshape(count, high * 3, wide)
    rows = (levels @ across.mT).view(count, high, 3 * side)
    views = (down @ rows).add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)
    return views.view(count, side, 3, side).permute(0, 2, 1, 3)


def _weights(lengths: Tensor, longest: int, side: int, kind: Resampling) -> Tensor:
    """Weight of every pixel of a row for every pixel of the result, [B, S, longest] float32; each sums to 1."""
    # Where a filter begins and ends is decided by the last bits.
    scale = (lengths.double() / side)[:, None, None]
    centres = (torch.arange(side, device=lengths.device, dtype=torch.float64) + 0.5)[None, :, None] * scale
    pixels = torch.arange(longest, device=lengths.device)[None, None, :]
    if kind is Resampling.NEAREST:
        return (pixels == centres.floor()).float()
    reach, weigh = _FILTERS[kind]
    stretch = scale.clamp(
        min=1
    )  # a filter grows with what it has to cover, and does not shrink below a pixel
    first = (centres - reach * stretch + 0.5).clamp(min=0).floor()
    end = torch.minimum((centres + reach * stretch + 0.5).floor(), lengths[:, None, None])
    weights = weigh((pixels - centres + 0.5) * (1 / stretch)) * ((pixels >= first) & (pixels < end))
    return (weights / weights.sum(dim=-1, keepdim=True)).float()
