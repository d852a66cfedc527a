"""JPEGs whose scan is kept: every pixel stays, everything else goes, and what is not plain is left to the encoder."""

import io
import random
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from worker.baseline_jpeg import with_our_headers
from worker.images import clean_image

SOI = b"\xff\xd8"
JFIF = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"


def picture(size: tuple[int, int] = (61, 43), mode: str = "RGB") -> Image.Image:
    cells = np.random.default_rng(7).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image).copy()


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def without_jfif(data: bytes, instead: bytes = b"") -> bytes:
    assert data.startswith(SOI + JFIF)
    return SOI + instead + data[len(SOI + JFIF) :]


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(61, 43), (16, 8), (1, 1), (7, 200)])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 30},
        {"quality": 75, "subsampling": 1},
        {"quality": 90, "subsampling": 0, "optimize": True},
        {"quality": 100, "subsampling": 2, "restart_marker_blocks": 1},
        {"quality": 85, "restart_marker_rows": 1},
    ],
    ids=str,
)
def test_every_pixel_stays(mode: str, size: tuple[int, int], options: dict[str, object]) -> None:
    source = jpeg(picture(size, mode), **options)
    copied = with_our_headers(source)
    assert copied is not None
    assert np.array_equal(pixels(copied), pixels(source))
    assert with_our_headers(copied) == copied


def test_what_says_anything_but_pixels_is_gone() -> None:
    exif = Image.Exif()
    exif[0x010F] = "secret camera"
    plain = jpeg(quality=80)
    told = jpeg(
        quality=80, exif=exif, comment=b"secret comment", icc_profile=b"secret profile", xmp=b"secret xmp",
        dpi=(300, 300),
    )  # fmt: skip
    # In the header of the thumbnail, behind the end, between fill bytes, in a table that nothing uses.
    hidden = segment(0xE0, b"JFXX\0secret thumbnail") + b"\xff\xff" + segment(0xED, b"secret caption")
    unused = segment(0xDB, b"\3" + (b"secret!!" * 8))
    told = told[:20] + hidden + unused + told[20:] + b"PK\3\4 secret archive"
    copied = with_our_headers(told)
    assert copied is not None
    assert b"secret" not in copied
    assert copied == with_our_headers(plain)
    assert clean_image(told, 10_000).data == copied


@pytest.mark.parametrize("subsampling", [0, 2])
def test_colours_are_read_as_the_file_says_with_adobes_marker_or_none(subsampling: int) -> None:
    """Without JFIF it is Adobe's marker, or the components' numbers, that tell YCbCr from RGB."""
    source = jpeg(quality=90, subsampling=subsampling)
    for ycbcr in (without_jfif(source), without_jfif(source, adobe(1)), source[:20] + adobe(0) + source[20:]):
        copied = with_our_headers(ycbcr)
        assert copied is not None
        assert np.array_equal(pixels(copied), pixels(ycbcr))
    rgb = without_jfif(source, adobe(0))
    assert with_our_headers(rgb) is None
    assert np.abs(pixels(clean_image(rgb, 10_000).data).astype(int) - pixels(rgb)).mean() < 8


def changed(marker: int, at: int, value: int) -> Callable[[bytes], bytes]:
    """Of the first segment of a kind, one byte after its length."""

    def change(data: bytes) -> bytes:
        place = data.index(bytes([0xFF, marker])) + 4 + at
        return data[:place] + bytes([value]) + data[place + 1 :]

    return change


OTHERS: dict[str, bytes] = {
    "progressive": jpeg(progressive=True),
    "CMYK": jpeg(picture(mode="CMYK")),
    "RGB": jpeg(keep_rgb=True, subsampling=0),
    "no end": jpeg()[:-2],
    "junk in the scan": jpeg()[:-2] + b"\xff\x01" + b"\xff\xd9",
    "a second scan": jpeg()[:-2] + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0\0\xff\xd9",
    "much behind the last block": jpeg()[:-2] + b"secret" * 10_000 + b"\xff\xd9",
    "12 bits": changed(0xC0, 0, 12)(jpeg()),
    "no height yet": changed(0xC0, 2, 0)(changed(0xC0, 1, 0)(jpeg())),
    "chroma finer than luma": changed(0xC0, 10, 0x22)(jpeg(subsampling=0)),
    "4:1:1": changed(0xC0, 7, 0x41)(jpeg()),
    "a table of 16 bits": changed(0xDB, 0, 0x10)(jpeg()),
    "a table with a zero": changed(0xDB, 9, 0)(jpeg()),
    "no such quantisation table": changed(0xC0, 8, 3)(jpeg()),
    "arithmetic coding": jpeg().replace(b"\xff\xc0", b"\xff\xc9", 1),
    "the length goes past the end": jpeg()[:20] + b"\xff\xe1\xff\xff" + jpeg()[20:],
    "nothing but its beginning": jpeg()[:3],
    "no scan": jpeg()[:200],
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_plain_is_left_to_the_encoder(kind: str) -> None:
    assert with_our_headers(OTHERS[kind]) is None


@pytest.mark.parametrize("kind", ["progressive", "CMYK", "RGB", "much behind the last block"])
def test_the_encoder_stores_what_is_not_plain(kind: str) -> None:
    source = OTHERS[kind]
    clean = clean_image(source, 10_000)
    assert clean.size == (61, 43)
    assert b"secret" not in clean.data
    assert len(clean.data) < 10_000


@pytest.mark.parametrize(
    ("wanted", "shown"), [(0, (50, 38)), (37, (50, 38)), (60, (100, 75)), (96, (200, 150)), (900, (400, 300))]
)
def test_a_preview_is_as_coarse_as_it_may_be(wanted: int, shown: tuple[int, int]) -> None:
    clean = clean_image(jpeg(picture((400, 300))), 1_000_000, preview_side=wanted)
    assert (clean.preview.size, clean.size) == (shown, (400, 300))


def test_of_a_damaged_file_the_same_pixels_are_stored_that_a_decoder_sees() -> None:
    """Whatever a stranger's bytes do: what is stored shows what Pillow shows of the file, or it is refused."""
    chance = random.Random(5)
    sources = [
        jpeg(quality=q, subsampling=s, optimize=o) for q in (40, 95) for s in (0, 2) for o in (False, True)
    ]
    taken = refused = 0
    for _ in range(600):
        data = bytearray(chance.choice(sources))
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.randrange(3, len(data))
            if chance.random() < 0.7:
                data[at] = chance.randrange(256)
            elif chance.random() < 0.5:
                del data[at : at + chance.randrange(1, 4)]
            else:
                data[at:at] = chance.randbytes(2)
        source = bytes(data)
        copied = with_our_headers(source)
        if copied is None or source.count(b"\xff\xc0\x00\x11\x08\x00\x2b\x00\x3d") != 1:  # not another size
            continue
        try:
            shown = pixels(source)
        except (OSError, SyntaxError):
            refused += 1
            continue
        assert np.array_equal(pixels(copied), shown)
        assert np.array_equal(pixels(clean_image(source, 10_000).data), shown)
        taken += 1
    assert taken > 200
    assert refused > 0
