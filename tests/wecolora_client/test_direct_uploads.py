"""The client sends parts straight to a real store, where the service says so."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.models import DatasetPart
from core.settings import Settings
from tests.api.keys import make_key
from tests.backends import run_s3
from tests.relay import Relay, relay_to
from tests.servers import Api, migrated_template, run_api
from tests.wecolora_client.folders import write_folder
from wecolora_client import Client, ServiceError, UploadProgress


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with run_s3() as variables:
        yield {name.removeprefix("WECOLORA_").lower(): value for name, value in variables.items()}


@pytest.fixture
def store(bucket: dict[str, str]) -> Iterator[Relay]:
    """The way of clients to the store."""
    with relay_to(bucket["s3_endpoint"]) as running:
        yield running


@pytest.fixture
def api(tmp_path: Path, bucket: dict[str, str], store: Relay) -> Iterator[Api]:
    folder = tmp_path / "data"
    migrated_template(folder)
    direct = {"direct_uploads": True, "s3_public_endpoint": store.url, "auth": "keys"}
    with run_api(Settings(data_dir=folder, **bucket, **direct)) as running:
        yield running


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(api.url, make_key(api, "lab")[1], patience_seconds=20) as running:
        yield running


def stored_files(api: Api) -> dict[str, int]:
    """Names and sizes of what lies in the archives that were stored."""
    with api.database.read() as session:
        keys = session.scalars(select(DatasetPart.key)).all()
    assert all(key.endswith("/direct") for key in keys)
    found = {}
    for key in keys:
        with tarfile.open(fileobj=io.BytesIO(api.resources.storage.get_bytes(key))) as archive:
            found |= {member.name: member.size for member in archive if member.isfile()}
    return found


def test_parts_go_to_the_store_and_not_through_the_service(api: Api, client: Client, tmp_path: Path) -> None:
    told: list[UploadProgress] = []
    folder = write_folder(tmp_path / "images", files=12, size_bytes=1000)
    dataset = client.get_dataset(client.upload(folder, part_bytes=3000, on_progress=told.append))
    assert dataset.state == "ingesting"
    assert len(stored_files(api)) == 12
    assert told[-1].bytes_done == told[-1].size_bytes == 12_000


def test_a_connection_to_the_store_that_breaks_costs_nothing_but_time(
    api: Api, client: Client, store: Relay, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "images", files=4, size_bytes=200_000)
    store.cut_sent = 300_000
    client.upload(folder)
    assert store.cut_sent is None, "the connection was not cut"
    assert sorted(stored_files(api).values()) == [200_000] * 4


def test_what_the_store_refuses_is_said_in_its_words(bucket: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    migrated_template(folder)
    settings = Settings(
        data_dir=folder, direct_uploads=True, **bucket | {"s3_secret_access_key": "another one"}
    )
    with (
        run_api(settings) as api,
        Client(api.url, patience_seconds=5) as client,
        pytest.raises(ServiceError, match=r"(?s)127\.0\.0\.1 answered 403: .*SignatureDoesNotMatch"),
    ):
        client.upload(write_folder(tmp_path / "images", files=1))
