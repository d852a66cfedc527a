"""Every kind of image that people upload, and what becomes of its pixels."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import get_sampling

from worker.images import BadImage, CleanImage, clean_image

MAX_PIXELS = 1_000_000
ORIENTATION = 0x0112


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decoded(clean: CleanImage) -> Image.Image:
    image = Image.open(io.BytesIO(clean.data))
    image.load()
    assert image.size == clean.size
    assert image.mode in ("L", "RGB")
    return image


def gradient(width: int = 16, height: int = 8) -> Image.Image:
    across = np.linspace(0, 255, width, dtype=np.uint8)[None].repeat(height, 0)
    down = np.linspace(0, 255, height, dtype=np.uint8)[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([across, down, across // 2], axis=-1))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "BMP"])
def test_lossless_images_keep_every_pixel(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    clean = clean_image(encoded(gradient(), form, **options), MAX_PIXELS)
    assert clean.suffix == ".png"
    assert np.array_equal(np.asarray(decoded(clean)), np.asarray(gradient()))


def test_an_upright_jpeg_keeps_its_tables_and_loses_its_metadata() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    source = encoded(
        gradient(64, 64), "JPEG", quality=70, exif=exif, comment=b"my address", icc_profile=b"profile"
    )
    clean = clean_image(source, MAX_PIXELS)
    before, after = Image.open(io.BytesIO(source)), Image.open(io.BytesIO(clean.data))
    assert clean.suffix == ".jpg"
    assert after.quantization == before.quantization
    assert not after.getexif()
    assert b"my address" not in clean.data
    assert "icc_profile" not in after.info
    assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_that_exif_turns_is_stored_upright(form: str) -> None:
    red_left = np.zeros((8, 16, 3), dtype=np.uint8)
    red_left[:, :8, 0] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be shown turned by 90 degrees clockwise: left becomes top
    source = encoded(Image.fromarray(red_left), form, exif=exif)
    clean, shrunk = clean_image(source, MAX_PIXELS), clean_image(source, MAX_PIXELS, short_side=4)
    upright = decoded(clean)
    assert upright.size == clean.source_size == shrunk.source_size == (8, 16)
    assert decoded(shrunk).size == (4, 8)
    assert upright.getpixel((4, 2))[0] > 240
    assert upright.getpixel((4, 13))[0] < 15
    assert ORIENTATION not in upright.getexif()


def test_cmyk_becomes_rgb() -> None:
    clean = clean_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), MAX_PIXELS)
    red, green, blue = decoded(clean).getpixel((4, 4))
    assert (red > 250, green < 5, blue < 5) == (True, True, True)
    assert clean.suffix == ".jpg"


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(form: str) -> None:
    wide = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    clean = clean_image(encoded(Image.fromarray(wide), form), MAX_PIXELS)
    assert np.asarray(decoded(clean)).tolist() == [[0, 0, 1, 1, 128, 254, 255, 255]]


def test_alpha_is_composed_on_white() -> None:
    image = Image.new("RGBA", (2, 1))
    image.putpixel((0, 0), (200, 0, 0, 0))
    image.putpixel((1, 0), (200, 0, 0, 255))
    for form in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True, "exact": True} if form == "WEBP" else {}
        pixels = decoded(clean_image(encoded(image, form, **options), MAX_PIXELS))
        assert [pixels.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 0, 0)]


def test_grey_with_alpha_is_composed_on_white() -> None:
    image = Image.new("LA", (1, 1), (10, 0))
    assert decoded(clean_image(encoded(image, "PNG"), MAX_PIXELS)).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_becomes_rgb_and_its_transparent_colour_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    plain = decoded(clean_image(encoded(image, "PNG"), MAX_PIXELS))
    keyed = decoded(clean_image(encoded(image, "PNG", transparency=0), MAX_PIXELS))
    assert [plain.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (40, 50, 60)]
    assert [keyed.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_one_bit_becomes_grey() -> None:
    clean = clean_image(encoded(Image.new("1", (3, 3), 1), "PNG"), MAX_PIXELS)
    assert np.asarray(decoded(clean)).tolist() == [[255] * 3] * 3


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_used(form: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if form == "WEBP" else {}
    source = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    clean = clean_image(source, MAX_PIXELS)
    assert decoded(clean).getpixel((0, 0)) == (255, 0, 0)
    assert getattr(Image.open(io.BytesIO(clean.data)), "n_frames", 1) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1)])
def test_extreme_shapes_are_kept_as_they_are(size: tuple[int, int]) -> None:
    clean = clean_image(encoded(Image.new("RGB", size, "white"), "PNG"), MAX_PIXELS)
    assert clean.size == clean.source_size == size


def test_the_same_pixels_in_two_lossless_codings_leave_as_the_same_bytes() -> None:
    as_png, as_bmp = (clean_image(encoded(gradient(), form), MAX_PIXELS) for form in ("PNG", "BMP"))
    turned = clean_image(encoded(gradient().transpose(Image.Transpose.ROTATE_180), "PNG"), MAX_PIXELS)
    assert as_png.data == as_bmp.data != turned.data


@pytest.mark.parametrize("short_side", [0, 20])
def test_one_jpeg_with_other_metadata_leaves_as_the_same_bytes(short_side: int) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    plain = encoded(gradient(64, 48), "JPEG", quality=90)
    told = encoded(gradient(64, 48), "JPEG", quality=90, exif=exif, comment=b"mine")
    progressive = encoded(gradient(64, 48), "JPEG", quality=90, progressive=True, optimize=True)
    other = encoded(gradient(64, 48), "JPEG", quality=60)
    assert len({plain, told, progressive}) == 3
    leave = [clean_image(source, MAX_PIXELS, short_side).data for source in (plain, told, progressive, other)]
    assert leave[0] == leave[1] != leave[3]
    # What is shrunk is coded anew, so that it does not matter how it was.
    assert (leave[0] == leave[2]) == (short_side > 0)


def test_images_that_differ_in_one_pixel_leave_as_different_bytes() -> None:
    large = np.zeros((1000, 900, 3), dtype=np.uint8)
    leave = {clean_image(encoded(Image.fromarray(large), "BMP"), MAX_PIXELS).data}
    for row, column in ((0, 0), (290, 899), (291, 0), (582, 1), (999, 899)):
        changed = large.copy()
        changed[row, column, 2] ^= 1
        leave.add(clean_image(encoded(Image.fromarray(changed), "BMP"), MAX_PIXELS).data)
    assert len(leave) == 6


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize(
    ("size", "stored"),
    [((300, 200), (150, 100)), ((200, 520), (100, 260)), ((250, 250), (100, 100)), ((110, 900), (100, 818))],
)
def test_a_large_image_is_stored_shrunk_and_counted_as_it_came(
    form: str, size: tuple[int, int], stored: tuple[int, int]
) -> None:
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    clean = clean_image(encoded(gradient(*size), form, **options), MAX_PIXELS, short_side=100)
    assert (clean.source_size, decoded(clean).size) == (size, stored)
    assert clean.suffix == (".jpg" if form == "JPEG" else ".png")
    # A gradient shrunk is the gradient of the smaller size.
    difference = np.asarray(decoded(clean), dtype=int) - np.asarray(gradient(*stored), dtype=int)
    assert np.abs(difference).max() <= 6


def test_an_image_is_shrunk_upright_and_without_its_metadata() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "a camera"
    clean = clean_image(encoded(gradient(300, 200), "JPEG", exif=exif), MAX_PIXELS, short_side=100)
    assert (clean.source_size, decoded(clean).size) == ((200, 300), (100, 150))
    assert b"a camera" not in clean.data


@pytest.mark.parametrize("short_side", [0, 8, 9])
def test_an_image_that_is_not_larger_is_stored_as_it_came(short_side: int) -> None:
    source = encoded(gradient(), "JPEG", quality=70)
    assert clean_image(source, MAX_PIXELS, short_side).data == clean_image(source, MAX_PIXELS).data


def test_fine_detail_is_averaged_and_not_skipped() -> None:
    stripes = np.zeros((400, 400), dtype=np.uint8)
    stripes[:, ::2] = 255
    clean = clean_image(encoded(Image.fromarray(stripes), "PNG"), MAX_PIXELS, short_side=100)
    assert np.abs(np.asarray(decoded(clean), dtype=int) - 127).max() <= 1


def shapes(width: int, height: int) -> Image.Image:
    """A picture with detail of every size, as photographs have it."""
    random = np.random.default_rng(3)
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for cells, strength in ((4, 60), (16, 30), (64, 15), (128, 8)):
        coarse = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        picture += (np.asarray(smooth, dtype=np.float32) - 128) * (strength / 60)
    return Image.fromarray(np.clip(picture / 2 + 128, 0, 255).astype(np.uint8))


def psnr(left: Image.Image, right: Image.Image) -> float:
    """Peak signal to noise, decibels."""
    difference = np.asarray(left, dtype=float) - np.asarray(right, dtype=float)
    return float(10 * np.log10(255**2 / (difference**2).mean()))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [75, 90])
def test_a_progressive_jpeg_is_stored_with_hardly_a_difference(subsampling: int, quality: int) -> None:
    options = {"quality": quality, "subsampling": subsampling, "progressive": True}
    source = encoded(shapes(500, 375), "JPEG", **options)
    clean = clean_image(source, MAX_PIXELS)
    assert get_sampling(decoded(clean)) == subsampling
    assert psnr(decoded(clean), Image.open(io.BytesIO(source))) > 45


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize(
    ("short_side", "stored"),
    # Three quarters of it and more by halving, or by halving twice; otherwise the side itself.
    [
        (601, 601),
        (600, 450),
        (474, 450),
        (450, 450),
        (385, 385),
        (301, 301),
        (300, 225),
        (225, 225),
        (176, 176),
        (100, 100),
    ],
)
def test_decoding_at_a_fraction_is_as_good_as_shrinking(
    mode: str, subsampling: int, short_side: int, stored: int
) -> None:
    source = encoded(shapes(1200, 900).convert(mode), "JPEG", quality=92, subsampling=subsampling)
    clean = clean_image(source, 2 * MAX_PIXELS, short_side=short_side)
    whole = Image.open(io.BytesIO(source)).convert("L" if mode == "L" else "RGB")
    assert clean.source_size == (1200, 900)
    assert min(decoded(clean).size) == stored
    ideal = whole.resize(clean.size, Image.Resampling.LANCZOS)
    assert psnr(clean.preview, ideal) > 41
    assert psnr(decoded(clean), clean.preview) > 34


@pytest.mark.parametrize(("short_side", "stored"), [(100, 80), (110, 110)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_decoded_at_a_fraction_as_it_is_decoded_whole(
    orientation: int, short_side: int, stored: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    source = encoded(shapes(640, 320), "JPEG", quality=95, subsampling=0, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(source)))
    clean = clean_image(source, MAX_PIXELS, short_side)
    assert clean.source_size == upright.size
    assert decoded(clean).size == ((2 * stored, stored) if orientation <= 4 else (stored, 2 * stored))
    assert psnr(decoded(clean), upright.resize(clean.size, Image.Resampling.LANCZOS)) > 36


@pytest.mark.parametrize("short_side", [0, 100])
def test_of_a_phones_file_of_several_jpegs_the_first_is_used(short_side: int) -> None:
    first = shapes(640, 480)
    source = encoded(first, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (320, 240))])
    assert Image.open(io.BytesIO(source)).format == "MPO"
    clean = clean_image(source, MAX_PIXELS, short_side)
    assert (clean.source_size, clean.source_format, clean.suffix) == ((640, 480), "JPEG", ".jpg")
    stored = decoded(clean)
    assert stored.size == ((133, 100) if short_side else (640, 480))
    assert psnr(stored, first.resize(stored.size, Image.Resampling.LANCZOS)) > 36


@pytest.mark.parametrize("progressive", [False, True])
def test_a_torn_jpeg_is_refused_also_where_it_is_decoded_at_a_fraction(progressive: bool) -> None:
    source = encoded(shapes(640, 480), "JPEG", quality=90, progressive=progressive)
    with pytest.raises(BadImage, match="is damaged"):
        clean_image(source[: len(source) * 9 // 10], MAX_PIXELS, short_side=60)


def test_an_image_over_the_pixel_cap_is_refused_before_it_is_decoded() -> None:
    header = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    header[16:24] = (60_000).to_bytes(4, "big") * 2  # the size that the header claims: 3.6 billion pixels
    header[29:33] = __import__("zlib").crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(BadImage, match=r"60000 x 60000 = 3,600,000,000 pixels; the limit is 1,000,000"):
        clean_image(bytes(header), MAX_PIXELS)


def test_the_pixel_cap_is_inclusive() -> None:
    source = encoded(Image.new("L", (10, 10)), "PNG")
    assert clean_image(source, 100).source_size == (10, 10)
    with pytest.raises(BadImage, match="the limit is 99"):
        clean_image(source, 99, short_side=2)


FOREIGN = {
    "a GIF": encoded(gradient(), "GIF"),
    "PostScript": encoded(gradient(), "EPS"),
    "a Photoshop file": b"8BPS\x00\x01" + bytes(100),
    "a FITS file": b"SIMPLE  =                    T" + bytes(100),
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a web page": b"<!DOCTYPE html><script>alert(1)</script>",
    "a pickle": b"\x80\x04\x95" + bytes(40),
    "an archive": b"PK\x03\x04" + bytes(40),
    "a PDF": b"%PDF-1.7" + bytes(40),
    "HEIC, AVIF or a video": b"\0\0\0\x18ftypheic" + bytes(40),
    "not an image": b"hello, world, this is a text",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named_for_what_it_is(kind: str) -> None:
    with pytest.raises(BadImage, match=kind):
        clean_image(FOREIGN[kind], MAX_PIXELS)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(BadImage, match="is empty"):
        clean_image(b"", MAX_PIXELS)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("short_side", [0, 8])
def test_a_truncated_image_is_refused_as_damaged(form: str, share: float, short_side: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    source = encoded(Image.fromarray(noise), form)
    with pytest.raises(BadImage, match="is damaged"):
        clean_image(source[: int(len(source) * share)], MAX_PIXELS, short_side)


def test_a_png_with_a_wrong_checksum_is_refused_as_damaged() -> None:
    source = bytearray(encoded(gradient(), "PNG"))
    source[source.index(b"IDAT") + 6] ^= 0xFF
    with pytest.raises(BadImage, match="is damaged"):
        clean_image(bytes(source), MAX_PIXELS)


def test_random_damage_never_escapes_as_another_error() -> None:
    random = np.random.default_rng(1)
    outcomes = set()
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        source = np.frombuffer(encoded(gradient(64, 64), form), dtype=np.uint8)
        for _ in range(60):
            broken = source.copy()
            places = random.integers(0, len(broken), 6)
            broken[places] = random.integers(0, 256, 6)
            try:
                clean_image(broken.tobytes(), MAX_PIXELS)
                outcomes.add("read")
            except BadImage:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_jpeg_with_a_zip_behind_it_leaves_without_the_zip() -> None:
    clean = clean_image(encoded(gradient(), "JPEG") + b"PK\x03\x04" + b"payload" * 50, MAX_PIXELS)
    assert b"payload" not in clean.data


def test_text_chunks_are_stripped() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "somebody")
    assert b"somebody" not in clean_image(encoded(gradient(), "PNG", pnginfo=info), MAX_PIXELS).data


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused_with_the_reason(mode: str) -> None:
    with pytest.raises(BadImage, match="32-bit pixels"):
        clean_image(encoded(Image.new(mode, (4, 4)), "TIFF"), MAX_PIXELS)
