"""From uploaded parts to shards, index and report."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.left_out import LEFT_OUT_NAME, LeftOutFile
from worker.dataset import INDEX_NAME, REPORT_NAME, IndexEntry, Report, Shard, SkippedFile, read_index
from worker.errors import ArchiveUnsafe, NoImages, TooManyBadFiles, TooManyImages
from worker.ingest import Ingest, IngestLimits

LIMITS = IngestLimits(max_images=1000, max_pixels=100_000, max_bytes=100 << 20)


def saved(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def png(shade: int, size: tuple[int, int] = (4, 4)) -> bytes:
    return saved(Image.new("RGB", size, (shade % 256, shade // 256, 0)), "PNG")


def pack(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Result:
    def __init__(self, report: Report, index: list[IndexEntry], shards: dict[str, bytes]) -> None:
        self.report, self.index, self.shards = report, index, shards

    def image(self, entry: IndexEntry) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(self.shards[entry.shard])) as tar:
            return tar.extractfile(entry.name).read()


def ingest(folder: Path, *parts: bytes, limits: IngestLimits = LIMITS, shard_bytes: int = 64 << 20) -> Result:
    work = folder / "work"
    work.mkdir()
    shards: dict[str, bytes] = {}

    def keep(path: Path, shard: Shard) -> None:
        shards[shard.name] = path.read_bytes()

    with Ingest(work, limits, keep, shard_bytes) as task:
        for number, part in enumerate(parts, 1):
            path = folder / "part"
            path.write_bytes(part)
            task.add_part(path, f"part{number}.png")
        report = task.finish()
    assert Report.model_validate_json((work / REPORT_NAME).read_text()) == report
    return Result(report, list(read_index(work / INDEX_NAME)), shards)


def left_out(folder: Path) -> list[SkippedFile]:
    """What the list beside the report names."""
    lines = (folder / "work" / LEFT_OUT_NAME).read_bytes().splitlines()
    files = map(LeftOutFile.of_line, lines)
    return [SkippedFile(path=file.path, reason=file.reason) for file in files]


def test_every_image_of_every_part_is_found_again_by_the_index(tmp_path: Path) -> None:
    done = ingest(tmp_path, pack({"a/1.png": png(1), "a/2.png": png(2)}), png(3))
    assert [(e.path, e.name) for e in done.index] == [
        ("a/1.png", "00000000.png"),
        ("a/2.png", "00000001.png"),
        ("part2.png", "00000002.png"),
    ]
    for shade, entry in enumerate(done.index, 1):
        data = done.image(entry)
        assert hashlib.sha256(data).hexdigest() == entry.sha256
        assert Image.open(io.BytesIO(data)).getpixel((0, 0)) == (shade, 0, 0)


def test_shards_are_bounded_checksummed_and_the_same_every_time(tmp_path: Path) -> None:
    part = pack({f"{i}.png": png(i) for i in range(20)})
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = ingest(tmp_path / "a", part, shard_bytes=5000)
    second = ingest(tmp_path / "b", part, shard_bytes=5000)
    assert first.shards == second.shards
    assert len(first.report.shards) > 1
    assert sum(shard.images for shard in first.report.shards) == 20
    for shard in first.report.shards:
        data = first.shards[shard.name]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.size_bytes, shard.sha256)
    assert not list((tmp_path / "a" / "work").glob("*.tar")), "shards stay on the disk"


def test_the_report_names_what_was_left_out_and_why(tmp_path: Path) -> None:
    files = {f"{i}.png": png(i) for i in range(4)}
    bad = {"torn.png": png(9)[:30], "logo.svg": b"<svg/>", "huge.png": png(1, (1000, 1000))}
    report = ingest(tmp_path, pack(files | bad | {"again.png": png(1), "notes.txt": b"x"})).report
    assert (report.image_count, report.skipped_count, report.duplicate_count) == (4, 3, 1)
    reasons = {file.path: file.reason for file in report.skipped}
    assert "damaged" in reasons["torn.png"]
    assert "SVG" in reasons["logo.svg"]
    assert "the limit is 100,000" in reasons["huge.png"]
    assert [file.path for file in report.duplicates] == ["again.png"]
    assert left_out(tmp_path) == [*report.skipped, *report.duplicates]


def test_size_statistics_are_reported(tmp_path: Path) -> None:
    report = ingest(tmp_path, *(png(i, (10 * i, i)) for i in (1, 2, 5))).report
    assert report.width.model_dump() == {"min": 10, "median": 20, "max": 50}
    assert report.height.model_dump() == {"min": 1, "median": 2, "max": 5}


def test_large_images_are_stored_smaller_and_their_statistics_tell_how_they_came(tmp_path: Path) -> None:
    limits = IngestLimits(max_images=10, max_pixels=100_000, max_bytes=1 << 20, stored_side=20)
    done = ingest(
        tmp_path, png(1, (90, 60)), png(2, (30, 15)), png(3, (60, 90)), png(1, (90, 60)), limits=limits
    )
    assert done.report.width.model_dump() == {"min": 30, "median": 60, "max": 90}
    assert done.report.height.model_dump() == {"min": 15, "median": 60, "max": 90}
    assert sum(each.images for each in done.report.shorter_sides if each.from_pixels > 20) == 2
    assert done.report.duplicate_count == 1
    assert [(e.width, e.height) for e in done.index] == [(30, 20), (30, 15), (20, 30)]
    for entry in done.index:
        assert Image.open(io.BytesIO(done.image(entry))).size == (entry.width, entry.height)


def test_every_shorter_side_lies_in_the_one_bin_that_says_so(tmp_path: Path) -> None:
    sides = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 63, 64, 95, 96]
    report = ingest(tmp_path, *(png(side, (side, 100)) for side in sides)).report
    bins = report.shorter_sides
    assert [each.images for each in bins] == [
        sum(each.from_pixels <= side <= each.to_pixels for side in sides) for each in bins
    ]
    assert [each.from_pixels for each in bins] == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96]


def test_files_of_which_the_same_is_stored_are_duplicates(tmp_path: Path) -> None:
    limits = IngestLimits(max_images=10, max_pixels=100_000, max_bytes=1 << 20, stored_side=20)
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    small = Image.fromarray(noise)
    enlarged = small.resize((90, 60), Image.Resampling.NEAREST)
    files = {"1.png": saved(small, "PNG"), "2.bmp": saved(enlarged, "BMP"), "3.jpg": saved(enlarged, "JPEG")}
    report = ingest(tmp_path, pack(files), limits=limits).report
    assert report.image_count == 2
    assert [(file.path, file.reason) for file in report.duplicates] == [
        ("2.bmp", "is stored as the same image as an earlier one")
    ]


def test_duplicates_are_dropped_across_parts(tmp_path: Path) -> None:
    report = ingest(tmp_path, pack({"a.png": png(1)}), pack({"b.png": png(1)}), png(1)).report
    assert (report.image_count, report.duplicate_count) == (1, 2)


@pytest.mark.parametrize(
    ("paths", "classes", "splits"),
    [
        (["cat/1.png", "dog/2.png"], ["cat", "dog"], None),
        (["photos/2024/cat/1.png", "photos/2024/dog/2.png"], ["cat", "dog"], None),
        (
            ["x/train/cat/1.png", "x/train/dog/2.png", "x/test/cat/3.png"],
            ["cat", "dog"],
            {"train": 2, "test": 1},
        ),
        (["Train/cat/1.png", "Validation/dog/2.png"], ["cat", "dog"], {"train": 1, "val": 1}),
        (["train/1.png", "test/2.png"], None, {"train": 1, "test": 1}),
        (["train/cat/1.png", "train/dog/2.png"], ["cat", "dog"], None),
        (["cat/1.png", "cat/2.png"], None, None),
        (["cat/1.png", "dog/2.png", "3.png"], None, None),
        (["cat/deep/1.png", "dog/2.png"], ["cat", "dog"], None),
        (["1.png", "2.png"], None, None),
        (["<script>/1.png", "b/2.png"], ["<script>", "b"], None),
    ],
)
def test_classes_and_splits_are_read_from_folders(
    tmp_path: Path, paths: list[str], classes: list[str] | None, splits: dict[str, int] | None
) -> None:
    done = ingest(tmp_path, pack({path: png(i) for i, path in enumerate(paths)}))
    assert (done.report.class_names, done.report.splits) == (classes, splits)
    for entry in done.index:
        assert (entry.class_name in entry.path) if classes else entry.class_name is None


def test_an_upload_without_images_is_refused_and_says_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(NoImages, match=r"1 files were left out, for example: part1.png is not an image"):
        ingest(tmp_path, b"hello")


def test_an_upload_that_is_mostly_bad_is_refused(tmp_path: Path) -> None:
    good = {f"{i}.png": png(i) for i in range(3)}
    bad = {f"bad{i}.jpg": b"" for i in range(3)}
    assert ingest(tmp_path, pack(good | bad)).report.image_count == 3
    (tmp_path / "more").mkdir()
    with pytest.raises(TooManyBadFiles, match=r"4 of 7 files cannot be used.*bad0.jpg is empty"):
        ingest(tmp_path / "more", pack(good | bad | {"bad3.jpg": b""}))


def test_the_number_of_images_is_bounded(tmp_path: Path) -> None:
    limits = IngestLimits(max_images=3, max_pixels=100, max_bytes=1 << 20)
    with pytest.raises(TooManyImages, match="more than 3 images"):
        ingest(tmp_path, pack({f"{i}.png": png(i) for i in range(4)}), limits=limits)


def test_an_unsafe_entry_in_the_last_part_refuses_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnsafe):
        ingest(tmp_path, png(1), pack({"../../evil.png": png(2)}))
    assert not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "work" / REPORT_NAME).exists()


def test_the_report_names_a_thousand_files_and_the_list_beside_it_all(tmp_path: Path) -> None:
    limits = IngestLimits(max_images=5000, max_pixels=100, max_bytes=100 << 20)
    files = {f"{i}.png": png(i, (1, 1)) for i in range(1300)} | {f"{i}.jpg": b"" for i in range(1200)}
    report = ingest(tmp_path, pack(files), limits=limits).report
    assert (report.image_count, report.skipped_count, len(report.skipped)) == (1300, 1200, 1000)
    assert [file.path for file in left_out(tmp_path)] == [f"{i}.jpg" for i in range(1200)]


def test_the_index_is_plain_json_lines(tmp_path: Path) -> None:
    ingest(tmp_path, pack({'we"ird\n<b>.png': png(1)}))
    (line,) = (tmp_path / "work" / INDEX_NAME).read_text().splitlines()
    assert json.loads(line)["path"] == 'we"ird\n<b>.png'
