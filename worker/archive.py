"""What reading an archive of any kind has in common: limits that are counted, names that are checked."""

import re
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import ArchiveTooLarge, ArchiveUnsafe
from worker.images import looks_like_image

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 512
_DRIVE = re.compile(r"^[A-Za-z]:")
_IGNORED_NAMES = frozenset(("Thumbs.db", "desktop.ini", "__MACOSX"))


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int = ..., /) -> bytes:
        """Read up to `size` bytes; nothing at the end."""
        ...


@dataclass(frozen=True)
class UnpackLimits:
    """What one dataset may unpack to. The ratio counts only once an archive has given `ratio_free_bytes`."""

    max_entries: int
    max_bytes: int
    max_file_bytes: int
    max_ratio: int = 200
    ratio_free_bytes: int = 64 << 20


@dataclass
class Budget:
    """What a dataset has used so far, over all its parts."""

    limits: UnpackLimits
    entries: int = 0
    bytes: int = 0

    def add_entry(self, archive: str) -> None:
        """Count one entry of any kind."""
        self.entries += 1
        if self.entries > self.limits.max_entries:
            raise ArchiveTooLarge(archive, f"holds more than {self.limits.max_entries:,} entries")

    def add_bytes(self, archive: str, count: int) -> None:
        """Count bytes that came out of a decompressor or a file."""
        self.bytes += count
        if self.bytes > self.limits.max_bytes:
            raise ArchiveTooLarge(archive, f"unpacks to more than {self.limits.max_bytes:,} bytes")


@dataclass
class Archive:
    """One archive being read: its name for messages and what came out of it."""

    name: str
    packed_bytes: int
    budget: Budget
    unpacked: int = 0

    def count(self, size: int) -> None:
        """Count unpacked bytes against the dataset's limit and against this archive's ratio."""
        self.budget.add_bytes(self.name, size)
        self.unpacked += size
        limits = self.budget.limits
        allowed = max(limits.ratio_free_bytes, limits.max_ratio * self.packed_bytes)
        if self.unpacked > allowed:
            raise ArchiveTooLarge(self.name, f"unpacks to more than {limits.max_ratio} times its size")


@dataclass(frozen=True)
class Entry:
    """One file of an upload: its bytes, or the reason why it was not read."""

    name: str
    data: bytes = field(default=b"", repr=False)
    problem: str | None = None


def printable(name: str) -> str:
    """Make a name safe to store as JSON: no lone surrogates, bounded. Escaping it is the display's work."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")[:500]


def check_name(archive: str, name: str) -> None:
    """Refuse a name that could mean a place outside the archive."""
    reason = None
    if "\0" in name:
        reason = "has a NUL character in its name"
    elif "\\" in name:
        reason = "has a backslash in its name"
    elif name.startswith("/") or _DRIVE.match(name):
        reason = "has an absolute name"
    elif ".." in name.split("/"):
        reason = "points outside the archive"
    if reason:
        raise ArchiveUnsafe(archive, printable(name), reason)


def is_ignored(name: str) -> bool:
    """Whether a file is a by-product of an operating system or hidden."""
    return any(part in _IGNORED_NAMES or part.startswith(".") for part in name.split("/") if part != ".")


def tidy(name: str) -> str:
    """The name to report: no empty or `.` components."""
    return printable("/".join(part for part in name.split("/") if part not in ("", ".")))


def take(
    stream: Readable, name: str, archive: Archive, *, counted: bool = False, keep: bool = False
) -> Entry | None:
    """Read one file if it is, or looks like, an image.

    Args:
        stream: the file's content, unpacked.
        name: the name to report.
        archive: counts the bytes.
        counted: a stream below counts them already.
        keep: return the file whatever it looks like, because its owner uploaded it by itself.
    """
    limit = archive.budget.limits.max_file_bytes
    head = stream.read(HEAD_BYTES)
    chunks, size = [head], len(head)
    if not counted:
        archive.count(size)
    if not keep and not looks_like_image(name, head):
        return None
    while chunk := stream.read(CHUNK_BYTES):
        size += len(chunk)
        if not counted:
            archive.count(len(chunk))
        if size > limit:
            return Entry(name, problem=f"is larger than {limit:,} bytes")
        chunks.append(chunk)
    return Entry(name, b"".join(chunks))
