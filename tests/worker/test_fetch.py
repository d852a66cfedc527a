"""What a job works on arrives whole or not at all."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from core.catalogue import ResolvedTeacher
from core.settings import Settings
from core.storage import Storage, StoredObject
from worker.cache import Cache
from worker.child import ROOT
from worker.errors import LabelsMissing, PartDamaged, StoredObjectDamaged
from worker.fetch import fetch_checkpoint, fetch_images, fetch_probe, fetch_teacher
from worker.ingester import run
from worker.protocol import CheckpointRef, DatasetRef, IngestSpec, PartRef


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.from_settings(Settings(data_dir=tmp_path))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache", 1 << 30) as cache:
        yield cache


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), shade).save(buffer, "PNG")
    return buffer.getvalue()


def spec_of(part: StoredObject, filename: str, tmp_path: Path, stored_side: int = 0) -> IngestSpec:
    return IngestSpec(
        dataset_id="ds_1",
        attempt=1,
        parts=[PartRef(key=part.key, filename=filename, sha256=part.sha256)],
        scratch=tmp_path / "scratch",
        max_images=100,
        max_pixels=10_000,
        max_bytes=1 << 20,
        stored_side=stored_side,
    )


def stored_dataset(storage: Storage, tmp_path: Path, *paths: str) -> DatasetRef:
    """Ingest a zip of different images under these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for shade, path in enumerate(paths):
            bundle.writestr(path, png(shade))
    part = storage.put_bytes("datasets/ds_1/parts/1", buffer.getvalue())
    spec = spec_of(part, "a.zip", tmp_path)
    return DatasetRef(id="ds_1", report_key=run(spec, storage).result["report_key"])


def test_a_part_that_is_not_what_was_announced_fails_the_dataset_by_its_name(
    storage: Storage, tmp_path: Path
) -> None:
    part = storage.put_bytes("datasets/ds_1/parts/1", b"announced")
    storage.put_bytes(part.key, b"something else")
    spec = spec_of(part, "photos.zip", tmp_path)
    with pytest.raises(
        PartDamaged, match=r"photos\.zip is not what was announced .* upload it again"
    ) as refused:
        run(spec, storage)
    assert (refused.value.code, refused.value.retryable) == ("part_damaged", False)
    assert storage.list_keys("datasets/ds_1/ingest") == []


def test_a_job_gets_large_images_as_small_as_they_are_stored(
    storage: Storage, tmp_path: Path, cache: Cache
) -> None:
    photograph = io.BytesIO()
    Image.new("RGB", (90, 60), "red").save(photograph, "JPEG")
    part = storage.put_bytes("datasets/ds_1/parts/1", photograph.getvalue())
    spec = spec_of(part, "a.jpg", tmp_path, stored_side=40)
    result = run(spec, storage).result
    assert (result["statistics"]["width"]["max"], result["statistics"]["height"]["max"]) == (90, 60)
    folder = fetch_images(storage, DatasetRef(id="ds_1", report_key=result["report_key"]), cache)
    (stored,) = folder.rglob("*.jpg")
    with Image.open(stored) as image:
        assert image.size == (45, 30)


def shades(folder: Path) -> list[int]:
    return sorted(Image.open(path).getpixel((0, 0)) for path in folder.rglob("*.png"))


def test_images_arrive_and_are_kept_for_the_next_job(storage: Storage, tmp_path: Path, cache: Cache) -> None:
    dataset = stored_dataset(storage, tmp_path, "a.png", "b.png", "c.png")
    folder = fetch_images(storage, dataset, cache)
    assert shades(folder) == [0, 1, 2]
    storage.delete_prefix("datasets/ds_1")
    assert fetch_images(storage, dataset, cache) == folder


def test_a_fetch_that_fails_half_way_leaves_nothing_in_the_cache(
    storage: Storage, tmp_path: Path, cache: Cache
) -> None:
    dataset = stored_dataset(storage, tmp_path, "a.png", "b.png")
    shard = next(key for key in storage.list_keys("datasets/ds_1/ingest") if key.endswith(".tar"))
    content = bytearray(storage.get_bytes(shard))
    content[700] ^= 1
    storage.put_bytes(shard, bytes(content))
    with pytest.raises(StoredObjectDamaged, match=shard):
        fetch_images(storage, dataset, cache)
    assert not [path for path in (cache.folder / "images").rglob("*") if path.is_file()]


def test_a_probe_becomes_numbered_class_folders(storage: Storage, tmp_path: Path, cache: Cache) -> None:
    names = ("train/<b>/1.png", "train/cat/2.png", "test/cat/3.png", "test/<b>/4.png")
    probe = fetch_probe(storage, stored_dataset(storage, tmp_path, *names), cache)
    assert probe.classes == ("<b>", "cat")
    assert [path.name for path in sorted(probe.train.iterdir())] == ["00000", "00001"]
    train, test = probe.train, probe.test
    assert test is not None
    assert (shades(train / "00000"), shades(train / "00001")) == ([0], [1])
    assert (shades(test / "00000"), shades(test / "00001")) == ([3], [2])


def test_a_probe_without_splits_is_one_tree(storage: Storage, tmp_path: Path, cache: Cache) -> None:
    probe = fetch_probe(storage, stored_dataset(storage, tmp_path, "a/1.png", "b/2.png"), cache)
    assert (shades(probe.train), probe.test) == ([0, 1], None)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("1.png", "2.png"), "class folders"),
        (("train/a/1.png", "train/b/2.png", "test/c/3.png"), "'c' that the training part lacks"),
        (("val/a/1.png", "test/b/2.png"), "no training part"),
    ],
)
def test_a_probe_whose_labels_do_not_fit_is_refused(
    storage: Storage, tmp_path: Path, cache: Cache, names: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(LabelsMissing, match=reason) as refused:
        fetch_probe(storage, stored_dataset(storage, tmp_path, *names), cache)
    assert refused.value.param == "probe"


def test_a_torn_or_missing_checkpoint_is_not_used(storage: Storage, tmp_path: Path) -> None:
    stored = storage.put_bytes("jobs/job_1/checkpoints/1/5.safetensors", b"weights")
    good = CheckpointRef(key=stored.key, sha256=stored.sha256, step=5)
    target = tmp_path / "out" / "checkpoint.safetensors"
    target.parent.mkdir()
    assert fetch_checkpoint(storage, good, target)
    target.unlink()
    storage.put_bytes(stored.key, b"weigh")
    assert not fetch_checkpoint(storage, good, target)
    storage.delete(stored.key)
    assert not fetch_checkpoint(storage, good, target)
    assert list(target.parent.iterdir()) == []


def test_each_kind_of_teacher_is_found_where_it_lies(storage: Storage, tmp_path: Path, cache: Cache) -> None:
    def teacher(kind: str, source: str) -> ResolvedTeacher:
        return ResolvedTeacher(
            name="t", kind=kind, source=source, architecture="a", image_size=8, depth=2, embed_dim=4
        )

    stored = storage.put_bytes("teachers/tch_1.safetensors", b"weights")
    assert fetch_teacher(storage, teacher("timm", "vit_tiny"), None, cache) == "vit_tiny"
    bundled = fetch_teacher(storage, teacher("bundled", "samples/digits_teacher"), None, cache)
    assert bundled == str(ROOT / "samples/digits_teacher")
    uploaded = fetch_teacher(storage, teacher("uploaded", stored.key), stored.sha256, cache)
    assert Path(uploaded).read_bytes() == b"weights"
    with pytest.raises(StoredObjectDamaged):
        fetch_teacher(storage, teacher("uploaded", stored.key), "0" * 64, cache)
