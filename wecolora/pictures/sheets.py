"""Small copies of images in one JPEG, for pages that show the image at a point of a map or below an overlay.

Every tile is encoded anew: nothing of the files but their pixels is in it.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from PIL import Image, ImageOps

_QUALITY = 80


@dataclass(frozen=True)
class Sheet:
    """Square tiles, row by row from the upper left.

    Attributes:
        file: its name.
        tiles: how many.
        columns: tiles in a row.
        tile_pixels: side of a tile.
        content: the JPEG.
    """

    file: str
    tiles: int
    columns: int
    tile_pixels: int
    content: bytes

    def to_dict(self) -> dict[str, object]:
        """As JSON values; the pixels stay in the file."""
        values = asdict(self)
        del values["content"]
        return values


def make_sheet(file: str, images: Iterable[Image.Image], count: int, tile_pixels: int) -> Sheet:
    """Lay images into a sheet that is about as wide as it is high, one at a time.

    Args:
        file: name of the sheet.
        images: of any size; each is cut to a square at its centre.
        count: of the images.
        tile_pixels: side of a tile.
    """
    columns = max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    sheet = Image.new("RGB", (columns * tile_pixels, rows * tile_pixels), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        tile = ImageOps.fit(image.convert("RGB"), (tile_pixels, tile_pixels), Image.Resampling.LANCZOS)
        sheet.paste(tile, (column * tile_pixels, row * tile_pixels))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=_QUALITY)
    return Sheet(file, count, columns, tile_pixels, buffer.getvalue())
