"""Decoded images, each decoded once: in a file without a name where the disk has room, else in memory, else not at all.

The kernel keeps what is read often of the file in memory that it can take back, so that a hundred thousand images need
no more of the process's own memory than ten do. The file has no name: it is gone with the process, however that ends.
"""

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass

import numpy as np

# Share of the free disk that the file may take: other runs want some, too.
_DISK_SHARE = 0.5
MEMORY_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class InFile:
    """Where an image lies in the file, and its shape."""

    offset: int
    shape: tuple[int, ...]


Place = InFile | np.ndarray | None
"""Of an image; None: it was not kept."""


class DecodedImages:
    """Keeps [H, W, 3] uint8 images; may be read by several threads, and by processes that are forked from this one.

    Args:
        disk_bytes: most that the file may take; None takes half of what is free in the folder for temporary files.
        memory_bytes: most that is kept in memory of what the file does not hold.
    """

    def __init__(self, disk_bytes: int | None = None, memory_bytes: int = MEMORY_BYTES) -> None:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        self._disk_left = int(free * _DISK_SHARE) if disk_bytes is None else disk_bytes
        self._memory_left = memory_bytes
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the images do
        weakref.finalize(self, self._file.close)
        self._end = 0

    def keep(self, pixels: np.ndarray) -> Place:
        """Keep an image, and say where."""
        if pixels.nbytes <= self._disk_left and self._write(pixels):
            place = InFile(self._end, pixels.shape)
            self._disk_left -= pixels.nbytes
            self._end += pixels.nbytes
            return place
        if pixels.nbytes <= self._memory_left:
            self._memory_left -= pixels.nbytes
            return pixels
        return None

    def _write(self, pixels: np.ndarray) -> bool:
        """Whether the disk took it; one that is full, or has a quota, is used no more."""
        left, offset = np.ascontiguousarray(pixels).data.cast("B"), self._end
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, offset)
                left, offset = left[written:], offset + written
        except OSError:
            self._disk_left = 0
            return False
        return True

    def read(self, place: InFile) -> np.ndarray:
        """An image of the file.

        Raises:
            OSError: the disk cannot be read.
        """
        size = int(np.prod(place.shape))
        data = os.pread(self._file.fileno(), size, place.offset)
        if len(data) != size:
            raise OSError(f"{len(data)} of {size} bytes could be read of the file of decoded images")
        return np.frombuffer(data, dtype=np.uint8).reshape(place.shape)
