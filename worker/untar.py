"""Read tar and tar.gz as a stream, with the headers checked before `tarfile` obeys them."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from typing import Self

from worker.archive import (
    CHUNK_BYTES,
    HEAD_BYTES,
    Archive,
    Entry,
    Readable,
    check_name,
    is_ignored,
    printable,
    take,
    tidy,
)
from worker.errors import ArchiveBroken, ArchiveUnsafe

# Long names and attributes are held in memory by tarfile: a header that claims more than this is an attack.
_MAX_EXTENSION_BYTES = 1 << 18
_MAX_READS_AT_END = 64
_EXTENSIONS = frozenset(
    (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )
)
_ERRORS = (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, ValueError, OverflowError, IndexError)


def is_tar(head: bytes) -> bool:
    """Whether a first block has a valid tar checksum; an empty tar is a block of zeros."""
    if len(head) == HEAD_BYTES and not any(head):
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


class _CheckedTarInfo(tarfile.TarInfo):
    """Refuses headers that would make tarfile itself use much memory, before it obeys them."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # tarfile takes a damaged or missing header for the end and stays silent; only zeros are the end.
            if any(buf):
                raise tarfile.ReadError("an entry's header is damaged") from error
            if not buf:
                raise tarfile.ReadError("it has no end mark; is the upload complete?") from error
            raise
        if info.size < 0:
            raise tarfile.ReadError("an entry has a negative size")
        if info.type in _EXTENSIONS and info.size > _MAX_EXTENSION_BYTES:
            raise tarfile.ReadError("an extension header is too large")
        return info


class _CountedStream(io.RawIOBase):
    """Counts what passes, so that skipped entries cost their owner as much as used ones."""

    def __init__(self, stream: Readable, archive: Archive) -> None:
        self._stream, self._archive = stream, archive
        self._reads_at_end = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(CHUNK_BYTES if size < 0 else min(size, CHUNK_BYTES))
        self._archive.count(len(data))
        if not data:
            # tarfile asks on and on for what a false size promised.
            self._reads_at_end += 1
            if self._reads_at_end > _MAX_READS_AT_END:
                raise tarfile.ReadError("it ends early")
        return data


def read_tar(stream: Readable, archive: Archive) -> Iterator[Entry]:
    """Read a tar from an unpacked stream; see `worker.unpack.read_entries`."""
    counted = _CountedStream(stream, archive)
    try:
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_CheckedTarInfo, bufsize=CHUNK_BYTES) as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else every header stays in memory
                if entry := _read_tar_member(tar, info, archive):
                    yield entry
    except _ERRORS as error:
        raise ArchiveBroken(archive.name, str(error) or "it ends early") from error
    except RecursionError as error:
        raise ArchiveUnsafe(archive.name, "?", "is behind a long chain of extension headers") from error


def _read_tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo, archive: Archive) -> Entry | None:
    archive.budget.add_entry(archive.name)
    check_name(archive.name, info.name)
    if info.size < 0:
        raise ArchiveBroken(archive.name, f"{printable(info.name)} has a negative size")
    if info.isdir():
        return None
    if not info.isreg() or info.issparse():
        raise ArchiveUnsafe(archive.name, printable(info.name), f"is {_tar_kind(info)}, not a plain file")
    if is_ignored(info.name):
        return None
    stream = tar.extractfile(info)
    if stream is None:
        raise ArchiveBroken(archive.name, f"{printable(info.name)} has no content")
    return take(stream, tidy(info.name), archive, counted=True)


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issym():
        return "a symbolic link"
    if info.islnk():
        return "a hard link"
    return "a sparse file" if info.issparse() else "a device or a pipe"
