"""Objects in a real folder."""

import asyncio
import hashlib

import pytest

from core.errors import ObjectMissing, PayloadTooLarge
from core.settings import Settings
from core.storage import Storage

CONTENT = bytes(range(256)) * 20_000


def files(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


async def in_chunks(content, then=None, size=1_000_000):
    for start in range(0, len(content), size):
        yield content[start : start + size]
    if then is not None:
        raise then


def test_what_is_stored_is_hashed_and_read_back(storage, tmp_path):
    stored = asyncio.run(storage.put_stream("a/b", in_chunks(CONTENT), len(CONTENT)))
    assert (stored.size_bytes, stored.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert b"".join(storage.iter_bytes("a/b")) == CONTENT
    assert storage.size_bytes("a/b") == len(CONTENT)
    copy = storage.download("a/b", tmp_path / "folder" / "copy")
    assert (tmp_path / "folder" / "copy").read_bytes() == CONTENT
    assert copy.sha256 == stored.sha256
    assert storage.put_file("a/c", tmp_path / "folder" / "copy").sha256 == stored.sha256


@pytest.mark.parametrize(("start", "end"), [(0, 10), (5, 1_500_000), (7, 7), (0, len(CONTENT))])
def test_a_range_is_read(storage, start, end):
    storage.put_bytes("a", CONTENT)

    async def read():
        return b"".join([chunk async for chunk in storage.iter_range("a", start, end)])

    assert asyncio.run(read()) == CONTENT[start:end]


@pytest.mark.parametrize("failure", [ValueError("the client left"), None])
def test_an_upload_that_fails_leaves_nothing_and_spares_what_was_there(storage, tmp_path, failure):
    storage.put_bytes("kept", b"before")
    limit = len(CONTENT) if failure else len(CONTENT) - 1
    with pytest.raises(ValueError if failure else PayloadTooLarge):
        asyncio.run(storage.put_stream("kept", in_chunks(CONTENT, failure), limit))
    assert storage.get_bytes("kept") == b"before"
    assert len(files(tmp_path)) == 1


def test_a_missing_object_is_named(storage, tmp_path):
    for read in (storage.get_bytes, storage.size_bytes, lambda key: list(storage.iter_bytes(key))):
        with pytest.raises(ObjectMissing, match="no/such"):
            read("no/such")
    with pytest.raises(ObjectMissing):
        storage.download("no/such", tmp_path / "copy")
    assert files(tmp_path) == []
    assert not storage.exists("no/such")


def test_a_prefix_is_listed_and_deleted_by_whole_segments(storage):
    for key in ("jobs/1/a", "jobs/1/b", "jobs/10/a"):
        storage.put_bytes(key, b"x")
    assert storage.list_keys("jobs/1") == ["jobs/1/a", "jobs/1/b"]
    storage.delete_prefix("jobs/1")
    storage.delete("jobs/1/a")
    assert storage.list_keys("jobs") == ["jobs/10/a"]


def test_a_key_cannot_leave_the_folder(storage, tmp_path):
    with pytest.raises(ValueError, match="illegal"):
        storage.put_bytes("../outside", b"x")
    assert not (tmp_path.parent / "outside").exists()


def test_an_s3_url_opens_a_bucket_with_a_prefix():
    settings = Settings(
        storage_url="s3://bucket/some/prefix",
        s3_endpoint="http://127.0.0.1:1",
        s3_allow_http=True,
        s3_access_key_id="key",
        s3_secret_access_key="secret",
    )
    store = Storage.from_settings(settings).store
    assert store.prefix == "some/prefix"
    assert store.config["bucket"] == "bucket"


def test_another_scheme_is_refused():
    with pytest.raises(ValueError, match="ftp"):
        Storage.from_settings(Settings(storage_url="ftp://host/folder"))
