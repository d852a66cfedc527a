"""Thumbnails of a dataset in one picture, encoded anew: what its owner sees of it."""

import io
from dataclasses import dataclass, field
from typing import Final

from PIL import Image

MOST_TILES: Final = 100
TILE_PIXELS: Final = 96
COLUMNS: Final = 10
_QUALITY: Final = 80


@dataclass
class ContactSheet:
    """Takes every image in its turn and keeps some, evenly over all of them, in constant memory.

    Every `stride`-th image has a tile. When there are too many, every other one goes and the stride doubles: so there
    are 51 to 100 tiles, or all images where they are fewer.
    """

    stride: int = 1
    _tiles: list[Image.Image] = field(default_factory=list)

    def takes(self, number: int) -> bool:
        """Whether an image, counted from 0, is one of those that have a tile."""
        return number % self.stride == 0

    def add(self, number: int, image: Image.Image) -> None:
        """Give an image its tile, the square in its middle, if it is one of those that have one.

        Args:
            number: of the image, counted from 0.
            image: L or RGB, at least as large as a tile where the image is.
        """
        if not self.takes(number):
            return
        self._tiles.append(_tile(image))
        if len(self._tiles) > MOST_TILES:
            self._tiles = self._tiles[::2]
            self.stride *= 2

    @property
    def tiles(self) -> int:
        """How many there are; row by row from the upper left, the rest of the last row is white."""
        return len(self._tiles)

    def encode(self) -> bytes:
        """The picture as JPEG."""
        rows = -(-self.tiles // COLUMNS)
        sheet = Image.new("RGB", (TILE_PIXELS * min(self.tiles, COLUMNS), TILE_PIXELS * rows), "white")
        for number, tile in enumerate(self._tiles):
            row, column = divmod(number, COLUMNS)
            sheet.paste(tile, (TILE_PIXELS * column, TILE_PIXELS * row))
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()


def _tile(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    tile = image.resize(
        (TILE_PIXELS, TILE_PIXELS),
        Image.Resampling.HAMMING,
        box=(left, top, left + side, top + side),
        reducing_gap=1.0,
    )
    return tile.convert("RGB")
