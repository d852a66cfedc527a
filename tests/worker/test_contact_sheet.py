"""A contact sheet shows images from all over the dataset, each in its square."""

import io

import pytest
from PIL import Image

from worker.contact_sheet import COLUMNS, MOST_TILES, TILE_PIXELS, ContactSheet


def grey(shade: int, size: tuple[int, int] = (32, 32), mode: str = "L") -> Image.Image:
    return Image.new(mode, size, shade if mode == "L" else (shade, shade, shade))


def shades(sheet: ContactSheet) -> list[int]:
    """The grey in the middle of every tile."""
    with Image.open(io.BytesIO(sheet.encode())) as image:
        return [
            image.getpixel(
                (
                    TILE_PIXELS * (number % COLUMNS) + TILE_PIXELS // 2,
                    TILE_PIXELS * (number // COLUMNS) + TILE_PIXELS // 2,
                )
            )[0]
            for number in range(sheet.tiles)
        ]


def test_few_images_are_all_shown_in_their_order() -> None:
    sheet = ContactSheet()
    for number in range(13):
        sheet.add(number, grey(number * 19))
    assert shades(sheet) == pytest.approx([number * 19 for number in range(13)], abs=3)
    with Image.open(io.BytesIO(sheet.encode())) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.size == (COLUMNS * TILE_PIXELS, 2 * TILE_PIXELS)
        assert image.getpixel((image.width - 5, image.height - 5)) == (255, 255, 255)
        assert not image.getexif()


@pytest.mark.parametrize("count", [100, 101, 250, 1999])
def test_many_images_are_shown_evenly(count: int) -> None:
    sheet = ContactSheet()
    for number in range(count):
        sheet.add(number, grey(number * 255 // count, (4, 4)))
    assert MOST_TILES // 2 < sheet.tiles <= MOST_TILES
    shown = [number * 255 // count for number in range(0, count, sheet.stride)]
    assert shades(sheet) == pytest.approx(shown, abs=4)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3000, 2000)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_any_shape_fills_its_tile(size: tuple[int, int], mode: str) -> None:
    sheet = ContactSheet()
    sheet.add(0, grey(90, size, mode))
    with Image.open(io.BytesIO(sheet.encode())) as image:
        assert image.size == (TILE_PIXELS, TILE_PIXELS)
        corners = [image.getpixel((x, y))[0] for x in (0, TILE_PIXELS - 1) for y in (0, TILE_PIXELS - 1)]
    assert corners == pytest.approx([90] * 4, abs=6)


@pytest.mark.parametrize("size", [(300, 100), (100, 300), (1500, 500), (500, 1500)])
def test_a_tile_shows_the_square_in_the_middle(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "black")
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    image.paste("white", (left, top, left + side, top + side))
    sheet = ContactSheet()
    sheet.add(0, image)
    with Image.open(io.BytesIO(sheet.encode())) as shown:
        assert min(shown.convert("L").resize((8, 8), Image.Resampling.BOX).tobytes()) > 240
