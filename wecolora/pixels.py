"""What an image file may be, and one conversion of every pixel format. Needs no torch: ingest uses it too."""

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_WHITE = (255, 255, 255, 255)
_ROWS = 256


class NoDefinedScale(ValueError):
    """32-bit integer or float pixels, for which no range is known."""

    def __init__(self) -> None:
        super().__init__("has 32-bit pixels, which have no defined scale to 8 bits")


def to_plain(image: Image.Image) -> Image.Image:
    """Bring any readable mode to 8-bit grey (L) or RGB.

    16-bit grey is scaled, never clipped; 1 bit becomes L; alpha, also of a palette or a colour key, is composed on
    white; palettes, CMYK, YCbCr, LAB and HSV become RGB.

    Raises:
        NoDefinedScale: for 32-bit integer or float pixels.
    """
    if image.mode.startswith("I;16"):
        return _scale_16_bit(image)
    if image.mode in ("I", "F"):
        raise NoDefinedScale
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _scale_16_bit(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255, rounding; bands of rows bound the memory."""
    scaled = np.empty((image.height, image.width), dtype=np.uint8)
    wide = np.asarray(image)
    for top in range(0, image.height, _ROWS):
        rows = wide[top : top + _ROWS].astype(np.uint32)
        scaled[top : top + _ROWS] = (rows * 255 + 32767) // 65535
    return Image.fromarray(scaled)
