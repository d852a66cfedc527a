import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import migrate
from core.database import Database
from core.settings import Settings
from samples.service_client import ServiceClient, ServiceError, pack_folder
from tests.servers import Api, free_port, run_api


def _names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        return members.getnames()


def _folder(path: Path, files: int, size_bytes: int = 100) -> Path:
    for number in range(files):
        target = path / ("train" if number % 2 else "test") / f"image-{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytes([number]) * size_bytes)
    return path


def test_small_files_travel_in_one_part_in_natural_order(tmp_path: Path) -> None:
    (part,) = pack_folder(_folder(tmp_path, files=12))
    expected = [f"test/image-{n}.png" for n in range(0, 12, 2)] + [
        f"train/image-{n}.png" for n in range(1, 12, 2)
    ]
    assert _names(part) == expected


def test_large_files_are_spread_over_parts_without_losing_any(tmp_path: Path) -> None:
    parts = list(pack_folder(_folder(tmp_path, files=10, size_bytes=1000), part_bytes=3000))
    assert [len(_names(part)) for part in parts] == [3, 3, 3, 1]
    assert len({name for part in parts for name in _names(part)}) == 10


def test_only_the_named_subfolders_are_packed(tmp_path: Path) -> None:
    (part,) = pack_folder(_folder(tmp_path, files=4), subfolders=("train",))
    assert _names(part) == ["train/image-1.png", "train/image-3.png"]


def test_an_empty_folder_gives_no_part(tmp_path: Path) -> None:
    assert list(pack_folder(tmp_path)) == []


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(settings)
    migrate.upgrade(database.engine)
    database.close()
    with run_api(settings) as running:
        yield running


@pytest.fixture
def client(api: Api) -> Iterator[ServiceClient]:
    running = ServiceClient(api.url)
    yield running
    running.close()


def test_a_folder_becomes_a_dataset_that_waits_to_be_read_in(
    api: Api, client: ServiceClient, tmp_path: Path
) -> None:
    dataset_id = client.upload_folder(_folder(tmp_path / "images", files=5), "five files")
    dataset = api.client.get(f"/datasets/{dataset_id}").json()
    assert (dataset["name"], dataset["state"]) == ("five files", "ingesting")
    (part,) = api.client.get(f"/datasets/{dataset_id}/parts").json()["data"]
    assert (part["number"], part["filename"]) == (1, "1.tar")


def test_a_refused_job_raises_the_services_own_words_with_field_and_range(
    client: ServiceClient, tmp_path: Path
) -> None:
    dataset_id = client.upload_folder(_folder(tmp_path / "images", files=2), "two files")
    with pytest.raises(ServiceError, match=r"r: .*12"):
        client.create_job(teacher="sample-digits", dataset_id=dataset_id, r=13, k=16)
    with pytest.raises(ServiceError, match="k: "):
        client.create_job(teacher="sample-digits", dataset_id=dataset_id, r=2, k=4000)


def test_following_a_job_yields_its_events_until_it_has_ended(
    api: Api, client: ServiceClient, tmp_path: Path
) -> None:
    dataset_id = client.upload_folder(_folder(tmp_path / "images", files=2), "two files")
    job = client.create_job(teacher="sample-digits", dataset_id=dataset_id, r=2, k=16)
    canceller = threading.Timer(0.5, lambda: api.client.post(f"/jobs/{job['id']}/cancel"))
    canceller.start()
    events = list(client.follow(job["id"]))
    canceller.join()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert client.get_job(job["id"])["state"] == "cancelled"


def test_a_file_that_a_job_does_not_have_is_named(client: ServiceClient, tmp_path: Path) -> None:
    dataset_id = client.upload_folder(_folder(tmp_path / "images", files=2), "two files")
    job = client.create_job(teacher="sample-digits", dataset_id=dataset_id, r=2, k=16)
    with pytest.raises(ServiceError, match=r"no file student\.zip"):
        client.download(job["id"], "student.zip", tmp_path / "student.zip")


def test_a_service_that_is_not_there_is_not_ready() -> None:
    client = ServiceClient(f"http://127.0.0.1:{free_port()}")
    assert not client.is_ready()
    client.close()
