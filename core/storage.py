"""Objects by key, in a local folder or an S3-compatible store, behind obstore.

Whoever reads an object sees all of it or none: local objects are written beside their place and renamed,
remote ones appear when the upload completes. A failed upload leaves nothing.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, S3Store

from core.errors import ObjectMissing, PayloadTooLarge, StorageUnavailable
from core.settings import Settings

if TYPE_CHECKING:
    from obstore import GetOptions, ReadableFile
    from obstore.store import S3Config

log = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
CHECK_KEY = "health/readyz"


@dataclass(frozen=True)
class StoredObject:
    """What was written, by the bytes that went through."""

    key: str
    size_bytes: int
    sha256: str


class Storage:
    """The objects of a deployment. Keys are made by the server, never from a user's file name."""

    def __init__(self, store: LocalStore | S3Store) -> None:
        self.store = store

    @classmethod
    def from_settings(cls, settings: Settings) -> "Storage":
        """Open the store that `storage_url` names."""
        url = urlsplit(settings.storage_url or "")
        if url.scheme == "s3":
            return cls(_s3_store(settings, url.netloc, url.path.strip("/")))
        if url.scheme not in ("", "file"):
            raise ValueError(f"storage_url must begin with s3:// or file://, not {url.scheme}://")
        folder = Path(unquote(url.path)) if url.path else settings.data_dir.resolve() / "objects"
        return cls(LocalStore(str(folder), mkdir=True))

    @property
    def prefix(self) -> str:
        """What the keys of this deployment begin with in their bucket; empty for a local folder."""
        return "" if isinstance(self.store, LocalStore) else self.store.prefix or ""

    def put_bytes(self, key: str, content: bytes) -> StoredObject:
        """Store a small object."""
        with _translated(key):
            obstore.put(self.store, key, content)
        return StoredObject(key, len(content), hashlib.sha256(content).hexdigest())

    def put_file(self, key: str, source: Path | IO[bytes]) -> StoredObject:
        """Store a file, from its beginning, in bounded memory."""
        if isinstance(source, Path):
            with source.open("rb") as opened:
                return self.put_file(key, opened)
        source.seek(0)
        return self.put_chunks(key, iter(lambda: source.read(CHUNK_BYTES), b""))

    def put_chunks(self, key: str, chunks: Iterable[bytes]) -> StoredObject:
        """Store what an iterable yields."""
        counter = _Counter(limit_bytes=None)
        with _translated(key):
            obstore.put(self.store, key, map(counter.count, chunks))
        return counter.stored(key)

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], max_bytes: int) -> StoredObject:
        """Store what arrives, in bounded memory.

        Raises:
            PayloadTooLarge: as soon as more than `max_bytes` have come; nothing is stored.
        """
        counter = _Counter(max_bytes)

        async def counted() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield counter.count(chunk)

        with _translated(key):
            await obstore.put_async(self.store, key, counted())
        return counter.stored(key)

    def size_bytes(self, key: str) -> int:
        """The size of an object."""
        with _translated(key):
            return int(obstore.head(self.store, key)["size"])

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        try:
            self.size_bytes(key)
        except ObjectMissing:
            return False
        return True

    def get_bytes(self, key: str) -> bytes:
        """A small object as a whole."""
        with _translated(key):
            return bytes(obstore.get(self.store, key).bytes())

    def iter_bytes(self, key: str, start: int = 0) -> Iterator[bytes]:
        """An object in chunks, from a byte of it on."""
        with _translated(key):
            options: GetOptions = {"range": {"offset": start}} if start else {}
            for chunk in obstore.get(self.store, key, options=options).stream(CHUNK_BYTES):
                yield bytes(chunk)

    async def iter_range(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, in chunks."""
        if start == end:
            return
        with _translated(key):
            result = await obstore.get_async(self.store, key, options={"range": (start, end)})
            async for chunk in result.stream(CHUNK_BYTES):
                yield bytes(chunk)

    def open_reader(self, key: str) -> "ReadableFile":
        """A seekable reader."""
        with _translated(key):
            return obstore.open_reader(self.store, key)

    def download(self, key: str, target: Path) -> StoredObject:
        """Copy an object to a local file, which appears only when it is complete."""
        counter = _Counter(limit_bytes=None)
        target.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=target.parent, prefix=".download-", delete=False) as partial:
            try:
                for chunk in self.iter_bytes(key):
                    partial.write(counter.count(chunk))
                partial.close()
                Path(partial.name).replace(target)
            except BaseException:
                Path(partial.name).unlink(missing_ok=True)
                raise
        return counter.stored(key)

    def list_keys(self, prefix: str) -> list[str]:
        """Keys below a prefix (a whole segment: `jobs/job_1`), sorted."""
        with _translated(prefix):
            return sorted(entry["path"] for batch in obstore.list(self.store, prefix) for entry in batch)

    def delete(self, keys: str | Iterable[str]) -> None:
        """Remove objects; one that is already gone is no error."""
        for key in [keys] if isinstance(keys, str) else keys:
            try:
                with _translated(key):
                    obstore.delete(self.store, key)
            except ObjectMissing:
                continue

    def delete_prefix(self, prefix: str) -> None:
        """Remove every object below a prefix, or the one of that very name."""
        keys = self.list_keys(prefix)
        if not keys and self.exists(prefix):
            keys = [prefix]
        self.delete(keys)

    def sign(self, method: Literal["GET", "PUT"], key: str, expires: timedelta) -> str | None:
        """A URL for a direct transfer, or None where the store has no such thing (a local folder)."""
        if isinstance(self.store, LocalStore):
            return None
        with _translated(key):
            return obstore.sign(self.store, method, key, expires)

    def check(self) -> None:
        """Raise when the store cannot be written to and read from."""
        self.put_bytes(CHECK_KEY, b"ok")
        if self.get_bytes(CHECK_KEY) != b"ok":
            raise StorageUnavailable("an object read back differs from what was written")


class _Counter:
    """Size and hash of what passes through."""

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._hash = hashlib.sha256()

    def count(self, chunk: bytes) -> bytes:
        self._size_bytes += len(chunk)
        if self._limit_bytes is not None and self._size_bytes > self._limit_bytes:
            raise PayloadTooLarge(self._limit_bytes)
        self._hash.update(chunk)
        return chunk

    def stored(self, key: str) -> StoredObject:
        return StoredObject(key, self._size_bytes, self._hash.hexdigest())


def _s3_store(settings: Settings, bucket: str, prefix: str) -> S3Store:
    config: S3Config = {"region": settings.s3_region}
    if settings.s3_access_key_id and settings.s3_secret_access_key:
        config["access_key_id"] = settings.s3_access_key_id.get_secret_value()
        config["secret_access_key"] = settings.s3_secret_access_key.get_secret_value()
    if settings.s3_endpoint:
        config["endpoint"] = settings.s3_endpoint
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options={"allow_http": settings.s3_allow_http, "timeout": timedelta(seconds=60)},
        retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=30)},
    )


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        raise ObjectMissing(key) from error
    except (PermissionError, exceptions.BaseError) as error:
        # The library's messages carry a debug dump after the first line.
        reason = str(error).splitlines()[0]
        log.warning("object %s: %s", key, reason)
        raise StorageUnavailable(reason) from error
