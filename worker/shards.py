"""Write images into tar shards of bounded size, and unpack them again."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from worker.dataset import Shard

SHARD_BYTES = 64 << 20
_BUFFER_BYTES = 1 << 20


class ShardWriter:
    """Fills one local tar at a time and hands each full one over, so that the local disk stays small.

    The bytes depend on the images and their order alone (no times, owners or modes from outside).
    """

    def __init__(
        self, folder: Path, on_shard: Callable[[Path, Shard], None], shard_bytes: int = SHARD_BYTES
    ) -> None:
        self._folder, self._on_shard, self._shard_bytes = folder, on_shard, shard_bytes
        self._file: BinaryIO | None = None
        self._tar: tarfile.TarFile | None = None
        self._images = 0
        self.shards: list[Shard] = []

    def add(self, name: str, data: bytes) -> str:
        """Append one image; returns the name of its shard."""
        if self._tar is None:
            self._file = self._path.open("wb", buffering=_BUFFER_BYTES)
            self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        self._tar.addfile(info, io.BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]  # else every header stays in memory
        self._images += 1
        shard = self._path.name
        if self._tar.offset >= self._shard_bytes:
            self._finish()
        return shard

    def close(self) -> None:
        """Hand over the last shard."""
        if self._tar is not None:
            self._finish()

    def discard(self) -> None:
        """Drop a shard that is not full, when the dataset came to nothing."""
        if self._tar is not None:
            self._close()

    @property
    def _path(self) -> Path:
        return self._folder / f"{len(self.shards):05d}.tar"

    def _close(self) -> None:
        assert self._tar is not None
        assert self._file is not None
        with self._file:
            self._tar.close()
        self._file = self._tar = None

    def _finish(self) -> None:
        self._close()
        path = self._path
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        shard = Shard(name=path.name, size_bytes=path.stat().st_size, sha256=digest, images=self._images)
        self._images = 0
        self._on_shard(path, shard)
        self.shards.append(shard)
        path.unlink(missing_ok=True)
