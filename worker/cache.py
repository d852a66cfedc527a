"""A machine's copies of datasets and teachers, shared by its jobs, and kept below a size.

An entry appears by one rename when it is complete, so that a job that died half-way leaves nothing that another one
could take for whole. Whoever uses an entry holds a shared lock on it until it is done, or dies; what nobody holds makes
room, the longest unused first. A lock belongs to a file of its own, which is never removed: a lock on a name that is
gone would keep nobody out. The file holds the entry's size and its time says when the entry was last asked for.
"""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

LOCKS: Final = "locks"
DRAFT_SECONDS: Final = 86_400.0
"""Older drafts are those of processes that were killed."""


@dataclass(frozen=True)
class _Entry:
    path: Path
    lock: Path
    size_bytes: int
    used_at: float


@dataclass
class Cache:
    """The cache as one job sees it; what it asked for is its own until the end of the `with`.

    Attributes:
        folder: of all entries.
        max_bytes: that entries may take together; what is in use stays, whatever its size.
    """

    folder: Path
    max_bytes: int
    _held: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._held.close()

    def get(self, kind: str, name: str, fill: Callable[[Path], None]) -> Path:
        """An entry, which stays until the end of the `with`.

        Args:
            kind: folder of entries of its kind.
            name: one path component.
            fill: makes the entry, a file or a folder, at the path that it gets.
        """
        target = self.folder / kind / name
        lock = self._lock_file(kind, name)
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = self._held.enter_context(lock.open("a+", encoding="utf-8"))
        fcntl.flock(held, fcntl.LOCK_SH)
        os.utime(lock)
        if not target.exists():
            self._fill(target, fill)
            held.truncate(0)
        if not lock.stat().st_size:  # new, or of a release that did not measure
            lock.write_text(str(_size_bytes(target)), encoding="utf-8")
            self.shrink()
        return target

    def shrink(self) -> None:
        """Remove what was not used for longest until the rest fits, and drafts that were left."""
        self._remove_old_drafts()
        entries = sorted(self._entries(), key=lambda entry: entry.used_at)
        total = sum(entry.size_bytes for entry in entries)
        for entry in entries:
            if total <= self.max_bytes:
                return
            if self._remove(entry):
                total -= entry.size_bytes

    def names(self, kind: str) -> list[str]:
        """The entries of a kind."""
        return [entry.path.name for entry in self._entries() if entry.path.parent.name == kind]

    def discard(self, kind: str, name: str) -> bool:
        """Remove an entry that nobody uses; returns whether it is gone."""
        entry = _Entry(self.folder / kind / name, self._lock_file(kind, name), 0, 0.0)
        return self._remove(entry)

    def _lock_file(self, kind: str, name: str) -> Path:
        return self.folder / LOCKS / kind / name

    def _fill(self, target: Path, fill: Callable[[Path], None]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            fill(draft)
            try:
                draft.rename(target)
            except OSError:
                if not target.exists():  # another job was first: its copy is the same
                    raise
        finally:
            _remove_path(draft)

    def _entries(self) -> Iterator[_Entry]:
        for lock in (self.folder / LOCKS).glob("*/*"):
            path = self.folder / lock.parent.name / lock.name
            if path.exists():
                size = lock.read_text(encoding="utf-8")
                yield _Entry(path, lock, int(size or 0), lock.stat().st_mtime)

    def _remove(self, entry: _Entry) -> bool:
        if not entry.path.exists():
            return True
        with entry.lock.open("a+", encoding="utf-8") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False  # somebody uses it
            # Out of the way by one rename: whoever comes next fills it anew.
            draft = entry.path.with_name(f".{entry.path.name}.{uuid.uuid4().hex}")
            with suppress(FileNotFoundError):
                entry.path.rename(draft)
            _remove_path(draft)
        return True

    def _remove_old_drafts(self) -> None:
        for draft in self.folder.glob("*/.*"):
            with suppress(FileNotFoundError):
                if draft.stat().st_mtime < time.time() - DRAFT_SECONDS:
                    _remove_path(draft)


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())


def _remove_path(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
