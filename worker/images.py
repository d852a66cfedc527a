"""Turn one untrusted file into one clean image: 8-bit L or RGB, upright, first frame, without metadata.

What comes in and what leaves, one defined conversion each:

| in | out |
|---|---|
| baseline JPEG, L or RGB, upright | JPEG of the same scan, bit by bit, under headers of our own (`baseline_jpeg`) |
| other JPEG, L or RGB, upright | JPEG with the same quantisation tables and subsampling |
| JPEG that is CMYK, that EXIF turns or that is shrunk | JPEG, quality 95, 4:4:4 |
| anything else | PNG |
| 16-bit grey | 8-bit by scaling (65535 becomes 255), never by clipping |
| 1-bit | L |
| alpha (RGBA, LA, a palette or colour key with transparency) | composed on white, RGB |
| palette, CMYK, YCbCr, LAB, HSV | RGB |
| animation or pages | the first one |
| 32-bit integer or float pixels | refused: they have no defined scale |

An image whose shorter side has more pixels than the deployment stores is shrunk to it, after all of the above. A JPEG
at least twice or four times as large is decoded at 1/2 or 1/4; and where one of these leaves between three quarters of
that side and all of it, at that and shrunk no further. Colour profiles are dropped with the rest of the
metadata, so pixel values are taken as sRGB.

What leaves depends on the picture alone: so files that differ in metadata or between lossless formats leave as the same
bytes. JPEGs of one picture that differ in their entropy coding do not.
"""

import io
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from wecolora.pixels import FORMATS, NoDefinedScale, to_plain
from worker.baseline_jpeg import with_our_headers

# Pillow's cap warns first and refuses only at twice its value. Ours is checked before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

_SUFFIXES = (
    "jpg jpeg jpe jfif png webp tif tiff bmp dib gif svg svgz eps ps psd ico heic heif avif "
    "jp2 jxl fits fit tga pcx ppm pgm raw cr2 nef arw dng exr hdr"
)
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in re.findall(r"\w+", _SUFFIXES))
_DIVISORS = (2, 4)
_COARSEST = 8
_LEAST_SHARE = 0.75
_ORIENTATION = 0x0112
# Values of the EXIF orientation that exchange width and height.
_LYING = frozenset((5, 6, 7, 8))
# What a damaged file makes Pillow's decoders raise. Anything else is a fault of ours and must be seen.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    Image.DecompressionBombError,
)


class BadImage(Exception):
    """A file that is not used, with a reason that its owner understands."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class CleanImage:
    """An encoded image that carries pixels and nothing else."""

    data: bytes = field(repr=False)
    suffix: str
    size: tuple[int, int]
    """Width and height in pixels."""
    source_size: tuple[int, int]
    """Width and height in pixels, upright, before the image was shrunk."""
    source_format: str
    """Pillow's name of what came in: JPEG, PNG, WEBP, TIFF or BMP."""
    preview: Image.Image = field(repr=False)
    """What is stored, or it at a half, a quarter or an eighth."""


def sniff(head: bytes) -> str | None:
    """Name the allowed format whose magic bytes start a file.

    Args:
        head: at least the first 16 bytes of the file.

    Returns:
        A member of `FORMATS`, or None.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    return None


def looks_like_image(name: str, head: bytes) -> bool:
    """Whether the owner probably meant this file as an image, so that leaving it out must be reported."""
    if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        return True
    # "BM" alone is too short a magic to believe without the suffix.
    return sniff(head) not in (None, "BMP")


def clean_image(data: bytes, max_pixels: int, short_side: int = 0, preview_side: int = 0) -> CleanImage:
    """Decode one file and write it anew: its scan under headers of our own, or its pixels encoded again.

    Args:
        data: the whole file.
        max_pixels: the most pixels (width x height) that are decoded.
        short_side: shrink so that the shorter side has this many pixels, never enlarge; 0: leave it as it came.
        preview_side: the preview's shorter side has at least so many pixels, where the image has.

    Raises:
        BadImage: when the file is not an allowed image, is damaged, or is too large.
    """
    if not data:
        raise BadImage("is empty")
    if sniff(data[:16]) is None:
        raise BadImage(_describe_foreign(data[:512]))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage("is damaged: its header cannot be read") from None
    except _DECODER_ERRORS as error:
        raise BadImage(f"is damaged: {_first_line(error)}") from error
    with image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise BadImage(
                f"has {image.width} x {image.height} = {pixels:,} pixels; the limit is {max_pixels:,}"
            )
        if pixels == 0:
            raise BadImage("has no pixels")
        try:
            return _copy_scan(image, data, short_side, preview_side) or _normalise(image, short_side)
        except NoDefinedScale as error:
            raise BadImage(str(error)) from error
        except _DECODER_ERRORS as error:
            raise BadImage(f"is damaged: {_first_line(error)}") from error


def _copy_scan(image: Image.Image, data: bytes, short_side: int, preview_side: int) -> CleanImage | None:
    """The image as it came, where it is a JPEG that needs no change of its pixels."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
        return None
    if _plan_jpeg(image.size, short_side)[0] != image.size or image.getexif().get(_ORIENTATION, 1) != 1:
        return None
    copied = with_our_headers(data)
    if copied is None:
        return None
    # Every bit of the scan is read at 1/8 as well, in half the time, so that a torn file is found.
    least = max(preview_side, min(image.size) // _COARSEST, 1)
    with Image.open(io.BytesIO(copied), formats=("JPEG",)) as preview:
        preview.draft(None, (least, least))
        preview.load()
    return CleanImage(copied, ".jpg", image.size, image.size, "JPEG", preview)


def _normalise(image: Image.Image, short_side: int) -> CleanImage:
    is_jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    whole_size = image.size
    if is_jpeg:
        stored_size, divisor = _plan_jpeg(whole_size, short_side)
        image.draft(None, (max(1, whole_size[0] // divisor), max(1, whole_size[1] // divisor)))
    image.load()
    orientation = image.getexif().get(_ORIENTATION, 1)
    turned = orientation != 1
    untouched = image.format == "JPEG" and image.mode in ("L", "RGB") and not turned
    plain = image if untouched else to_plain(ImageOps.exif_transpose(image) if turned else image)
    if not is_jpeg:
        whole_size = plain.size
        stored_size = _stored_size(whole_size, short_side)
    elif orientation in _LYING:
        whole_size, stored_size = whole_size[::-1], stored_size[::-1]
    untouched = untouched and stored_size == whole_size
    if stored_size != plain.size:
        plain = _shrink(plain, stored_size)
    plain.info = {}  # comments, profiles and colour keys would otherwise be written again
    if untouched:
        encoded = _encode_keeping_tables(plain)
    elif is_jpeg:
        encoded = _encode(plain, "JPEG", quality=95, subsampling=0)
    else:
        encoded = _encode(plain, "PNG", compress_level=1)
    return CleanImage(
        encoded,
        ".jpg" if is_jpeg else ".png",
        plain.size,
        whole_size,
        "JPEG" if is_jpeg else str(image.format),
        plain,
    )


def _plan_jpeg(size: tuple[int, int], short_side: int) -> tuple[tuple[int, int], int]:
    """The size to store, and of how many rows and columns libjpeg shall compute one: 1, 2 or 4.

    Not 8: that takes one number of every block, and loses detail that the shrinking of more pixels keeps.
    """
    for divisor in _DIVISORS if 0 < short_side < min(size) else ():
        width, height = -(-size[0] // divisor), -(-size[1] // divisor)
        if _LEAST_SHARE * short_side <= min(width, height) <= short_side:
            return (width, height), divisor
    stored = _stored_size(size, short_side)
    scale = min(size[0] // stored[0], size[1] // stored[1])
    return stored, max(divisor for divisor in (1, *_DIVISORS) if divisor <= scale)


def _stored_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    if not 0 < short_side < min(size):
        return size
    scale = short_side / min(size)
    return max(short_side, round(size[0] * scale)), max(short_side, round(size[1] * scale))


def _shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # First by a whole number, as an average of pixels. Of the rest, less than a factor of two, Hamming's window makes
    # what bicubic would, sooner.
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=1.0)


def _encode_keeping_tables(image: Image.Image) -> bytes:
    try:
        return _encode(image, "JPEG", quality="keep")
    except (ValueError, OSError):
        # Tables that a decoder accepts and the encoder does not (16-bit precision, odd sampling).
        return _encode(image, "JPEG", quality=95, subsampling=0)


def _encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _describe_foreign(head: bytes) -> str:
    """Say what a file is that is not an allowed image."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kinds = (
        (head.startswith(b"GIF8"), "a GIF"),
        (head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")), "PostScript"),
        (head.startswith(b"8BPS"), "a Photoshop file"),
        (head.startswith(b"SIMPLE  ="), "a FITS file"),
        (head[4:8] == b"ftyp", "HEIC, AVIF or a video"),
        (head.startswith(b"%PDF"), "a PDF"),
        (b"<svg" in text or (text.startswith(b"<?xml") and b"svg" in text), "an SVG drawing"),
        (text.startswith((b"<!doctype html", b"<html")), "a web page"),
        (head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")), "an archive"),
        (head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05", "a pickle"),
    )
    kind = next((name for matches, name in kinds if matches), None)
    allowed = "JPEG, PNG, WebP, TIFF and BMP are accepted"
    return f"is {kind}; {allowed}" if kind else f"is not an image; {allowed}"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
