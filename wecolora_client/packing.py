"""Many files as few requests: a folder becomes tar archives of about the same size.

The same files give the same archives, byte for byte, so that an upload that was broken off goes on where it was.
"""

import re
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from wecolora_client.errors import NothingToUpload

Content = BufferedReader | tempfile.SpooledTemporaryFile[bytes]

PART_BYTES = 8 * 1024 * 1024
MOST_PARTS = 10_000
_LITTER = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})


@dataclass(frozen=True)
class PartPlan:
    """Files that travel together.

    Attributes:
        number: of the part, from 1.
        root: names in the archive count from here; None sends the one file as it is.
        files: to send, in order.
        size_bytes: of the files together.
    """

    number: int
    root: Path | None
    files: tuple[Path, ...]
    size_bytes: int

    @property
    def filename(self) -> str:
        """What the service is told that the part is."""
        return f"{self.number}.tar" if self.root else self.files[0].name

    def open(self) -> Content:
        """The bytes to send; in memory unless they are many."""
        if self.root is None:
            return self.files[0].open("rb")
        packed = tempfile.SpooledTemporaryFile(max_size=2 * PART_BYTES)  # noqa: SIM115 - the caller closes it
        with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
            for path in self.files:
                archive.add(
                    path, arcname=path.relative_to(self.root).as_posix(), filter=_without_circumstances
                )
        packed.seek(0)
        return packed


def plan_parts(
    path: Path, subfolders: Sequence[str] = (".",), part_bytes: int = PART_BYTES
) -> list[PartPlan]:
    """Which files travel in which part.

    Args:
        path: a folder; or an archive or image, which travels alone and as it is.
        subfolders: of the folder, where not all of it is wanted.
        part_bytes: about the size of a part; more where there would be too many.

    Raises:
        NothingToUpload: there is no such path, or there are no files below it.
    """
    if path.is_file():
        return [PartPlan(1, None, (path,), path.stat().st_size)]
    sizes = {file: file.stat().st_size for file in _files(path, subfolders)}
    if not sizes:
        raise NothingToUpload(f"{path} holds no files" if path.is_dir() else f"there is no {path}")
    wanted_bytes = max(part_bytes, 2 * sum(sizes.values()) // MOST_PARTS)
    parts: list[PartPlan] = []
    batch: dict[Path, int] = {}
    batch_bytes = 0
    for file, size_bytes in sizes.items():
        batch[file] = size_bytes
        batch_bytes += size_bytes
        if batch_bytes >= wanted_bytes:
            parts.append(PartPlan(len(parts) + 1, path, tuple(batch), batch_bytes))
            batch, batch_bytes = {}, 0
    if batch:
        parts.append(PartPlan(len(parts) + 1, path, tuple(batch), batch_bytes))
    return parts


def _files(folder: Path, subfolders: Sequence[str]) -> list[Path]:
    found = {
        path
        for name in subfolders
        for path in (folder / name).rglob("*")
        if path.is_file() and not _is_litter(path.relative_to(folder))
    }
    return sorted(found, key=_natural)


def _is_litter(path: Path) -> bool:
    """Files that systems leave in folders, and that nobody means to upload."""
    return any(part.startswith(".") or part in _LITTER for part in path.parts)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that counts: image-2 before image-10."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", str(path))]


def _without_circumstances(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Neither whose file it is nor when it was touched belongs to an image."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o644
    return member
