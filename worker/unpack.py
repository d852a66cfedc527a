"""Read untrusted archives: tar, tar.gz, zip. Nothing is written to disk and one file at a time is in memory.

Every limit is counted while reading, because the sizes that an archive declares are its author's claims. One
entry that leaves its folder, or that is no plain file, refuses the whole archive: one that lies once is
not trusted with the rest. Archives inside archives are not opened.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from worker import untar, unzip
from worker.archive import HEAD_BYTES, Archive, Budget, Entry, printable, take

_GZIP_MAGIC = b"\x1f\x8b"


def read_entries(path: Path, filename: str, budget: Budget) -> Iterator[Entry]:
    """Read one uploaded part: an archive or a single file, told apart by content and never by name.

    Args:
        path: the part as a local file.
        filename: what its owner called it, for messages.
        budget: counts over the whole dataset.

    Yields:
        Files that are, or look like, images; side files such as labels.txt are passed over.

    Raises:
        ArchiveUnsafe, ArchiveTooLarge, ArchiveBroken: the whole upload must be refused.
    """
    name = printable(filename)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    archive = Archive(name, path.stat().st_size, budget)
    if head.startswith(unzip.MAGIC):
        yield from unzip.read_zip(path, archive)
    elif head.startswith(_GZIP_MAGIC):
        with gzip.open(path, "rb") as stream:
            yield from untar.read_tar(stream, archive)
    elif untar.is_tar(head):
        with path.open("rb") as stream:
            yield from untar.read_tar(stream, archive)
    else:
        budget.add_entry(name)
        with path.open("rb") as stream:
            base = PurePosixPath(name.replace("\\", "/")).name or "file"
            entry = take(stream, base, archive, keep=True)
        if entry is not None:
            yield entry
