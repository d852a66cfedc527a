"""What a dataset shows of itself once a worker has read it."""

import io
import zipfile

import pytest
from PIL import Image

from core.leases import IngestResult, claim_dataset, complete_ingest, record_ingest_progress
from tests.api.rows import ready_dataset, uploaded_dataset
from worker.ingester import run
from worker.protocol import IngestSpec, PartRef


def encoded(shade, form, size=(20, 10), **options):
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def dataset(api, tmp_path):
    """Three images of two classes, one of them twice, read by the ingester itself."""
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    files = {
        "cat/1.jpg": encoded(30, "JPEG", exif=exif),
        "cat/2.png": encoded(120, "PNG", (40, 30)),
        "dog/3.webp": encoded(210, "WEBP", lossless=True),
        "dog/again.png": encoded(210, "PNG"),
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    dataset_id = api.client.post("/datasets").json()["id"]
    part = api.client.put(f"/datasets/{dataset_id}/parts/1", content=archive.getvalue()).json()
    api.client.post(f"/datasets/{dataset_id}/complete").raise_for_status()
    storage = api.resources.storage
    (key,) = storage.list_keys(f"datasets/{dataset_id}/parts")
    spec = IngestSpec(
        dataset_id=dataset_id, attempt=1, parts=[PartRef(key=key, filename="a.zip", sha256=part["sha256"])],
        scratch=tmp_path / "scratch", max_images=100, max_pixels=100_000, max_bytes=1 << 20,
    )  # fmt: skip
    with api.database.write() as session:
        claim = claim_dataset(session, dataset_id, "worker-1", 30)
        record_ingest_progress(session, claim, {"parts": 0, "total_parts": 1, "images": 0, "skipped": 0})
    told = []
    result = run(spec, storage, told.append).result
    assert told[0] == {"parts": 0, "total_parts": 1, "images": 1, "skipped": 0}
    assert api.client.get(f"/datasets/{dataset_id}").json()["progress"]["total_parts"] == 1
    with api.database.write() as session:
        complete_ingest(session, claim, IngestResult(**result))
    return dataset_id


def test_a_dataset_says_what_its_images_are_like(api, dataset):
    found = api.client.get(f"/datasets/{dataset}").json()
    assert (found["image_count"], found["duplicate_count"], found["progress"]) == (3, 1, None)
    assert found["statistics"] == {
        "width": {"min": 20, "median": 20, "max": 40},
        "height": {"min": 10, "median": 10, "max": 30},
        "shorter_sides": [
            {"from_pixels": 8, "to_pixels": 11, "images": 2},
            {"from_pixels": 12, "to_pixels": 15, "images": 0},
            {"from_pixels": 16, "to_pixels": 23, "images": 0},
            {"from_pixels": 24, "to_pixels": 31, "images": 1},
        ],
        "formats": {"JPEG": 1, "PNG": 1, "WEBP": 1},
        "class_counts": {"cat": 2, "dog": 1},
    }
    sheet = found["contact_sheet"]
    assert (sheet["tiles"], sheet["columns"], sheet["tile_pixels"]) == (3, 10, 96)


def test_its_contact_sheet_is_one_picture_without_metadata(api, dataset):
    shown = api.client.get(f"/datasets/{dataset}").json()
    response = api.client.get(shown["links"]["contact_sheet"])
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert len(response.content) == shown["contact_sheet"]["size_bytes"]
    assert b"taken at home" not in response.content
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.size == (3 * 96, 96)
        greys = [image.getpixel((96 * tile + 48, 48))[0] for tile in range(3)]
    assert greys == pytest.approx([30, 120, 210], abs=6)
    again = api.client.get(
        shown["links"]["contact_sheet"], headers={"If-None-Match": response.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_there_is_none_before_the_images_are_read_nor_of_older_datasets(api):
    for dataset_id in (uploaded_dataset(api), ready_dataset(api)):
        found = api.client.get(f"/datasets/{dataset_id}").json()
        assert (found["statistics"], found["contact_sheet"]) == (None, None)
        assert "contact_sheet" not in found["links"]
        assert api.client.get(f"/datasets/{dataset_id}/contact-sheet").status_code == 404


def test_a_deleted_dataset_shows_nothing(api, dataset):
    assert api.client.delete(f"/datasets/{dataset}").status_code == 204
    assert api.client.get(f"/datasets/{dataset}/contact-sheet").status_code == 404
