"""Read zip archives member by member.

`zipfile` builds one object an entry before it hands out the first, so the central directory is counted first,
in constant memory. The number that the end record states is its author's claim; the directory is walked.
Layout: APPNOTE.TXT 4.3.12 (directory header), 4.3.14, 4.3.15 (zip64 end record, locator), 4.3.16 (end).
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from worker.archive import Archive, Entry, check_name, is_ignored, printable, take, tidy
from worker.errors import ArchiveBroken, ArchiveTooLarge, ArchiveUnsafe
from worker.images import looks_like_image

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
# Raised for one entry; the others may be fine.
_MEMBER_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
_ERRORS = (zipfile.BadZipFile, struct.error, ValueError, OverflowError)

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCATOR_64_MAGIC = b"PK\x06\x07"
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_MAGIC = b"PK\x06\x06"
_HEADER = struct.Struct("<4s6H3L5H2L")
_HEADER_MAGIC = b"PK\x01\x02"
_NAME, _EXTRA, _COMMENT = 10, 11, 12
_MAX_COMMENT = 0xFFFF


def count_entries(path: Path, stop_after: int) -> int:
    """Walk the central directory and count its headers.

    Args:
        path: a local zip file.
        stop_after: the walk ends once the count passes this.

    Returns:
        The number of entries, at most `stop_after + 1`.

    Raises:
        zipfile.BadZipFile: when there is no readable directory.
    """
    with path.open("rb") as file:
        start, size = _find_directory(file)
        file.seek(start)
        count, position = 0, 0
        while position < size and count <= stop_after:
            raw = file.read(_HEADER.size)
            if len(raw) < _HEADER.size or not raw.startswith(_HEADER_MAGIC):
                raise zipfile.BadZipFile("its directory is damaged")
            header = _HEADER.unpack(raw)
            variable = header[_NAME] + header[_EXTRA] + header[_COMMENT]
            file.seek(variable, 1)
            position += _HEADER.size + variable
            count += 1
    return count


def _find_directory(file: IO[bytes]) -> tuple[int, int]:
    """Return the directory's offset and size, counted back from the end record as `zipfile` does."""
    file_size = file.seek(0, 2)
    tail_start = max(0, file_size - _MAX_COMMENT - _END.size)
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(_END_MAGIC)
    if found < 0 or len(tail) - found < _END.size:
        raise zipfile.BadZipFile("it has no end-of-directory record; is the upload complete?")
    end = tail_start + found
    size = _END.unpack(tail[found : found + _END.size])[5]
    start = end - size
    if end >= _LOCATOR_64.size:
        file.seek(end - _LOCATOR_64.size)
        if file.read(_LOCATOR_64.size).startswith(_LOCATOR_64_MAGIC):
            record = end - _LOCATOR_64.size - _END_64.size
            file.seek(max(0, record))
            raw = file.read(_END_64.size)
            if record < 0 or not raw.startswith(_END_64_MAGIC):
                raise zipfile.BadZipFile("its zip64 end record is damaged")
            size = _END_64.unpack(raw)[8]
            start = record - size
    if start < 0:
        raise zipfile.BadZipFile("its directory is larger than the file")
    return start, size


def read_zip(path: Path, archive: Archive) -> Iterator[Entry]:
    """Read a zip; see `worker.unpack.read_entries`."""
    limits = archive.budget.limits
    try:
        # zipfile builds one object an entry before it hands out the first: count them before.
        if count_entries(path, limits.max_entries) > limits.max_entries:
            raise ArchiveTooLarge(archive.name, f"holds more than {limits.max_entries:,} entries")
        with zipfile.ZipFile(path) as bundle:
            for info in bundle.infolist():
                archive.budget.add_entry(archive.name)
                _check_zip_member(archive.name, info)
            for info in bundle.infolist():
                if not info.is_dir() and not is_ignored(info.filename):
                    entry = _read_zip_member(bundle, info, archive)
                    if entry is not None:
                        yield entry
    except _ERRORS as error:
        raise ArchiveBroken(archive.name, str(error) or "its directory is damaged") from error


def _check_zip_member(archive: str, info: zipfile.ZipInfo) -> None:
    # `filename` is cut at a NUL; `orig_filename` is what the archive says.
    check_name(archive, info.orig_filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise ArchiveUnsafe(archive, printable(info.filename), "is a symbolic link, not a plain file")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveUnsafe(archive, printable(info.filename), "is a device or a pipe, not a plain file")


def _read_zip_member(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, archive: Archive) -> Entry | None:
    name = tidy(info.filename)
    problem = None
    if info.flag_bits & _ENCRYPTED:
        problem = "is encrypted"
    elif info.compress_type not in _METHODS:
        problem = "is compressed by a method other than deflate"
    if problem:
        return Entry(name, problem=problem) if looks_like_image(name, b"") else None
    try:
        with bundle.open(info) as stream:
            return take(stream, name, archive)
    except _MEMBER_ERRORS as error:
        return Entry(name, problem=f"is damaged: {error or 'it ends early'}")
