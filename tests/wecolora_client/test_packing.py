"""How a folder becomes parts."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from tests.wecolora_client.folders import write_folder
from wecolora_client import NothingToUpload
from wecolora_client.packing import PartPlan, plan_parts


def names(part: PartPlan) -> list[str]:
    with part.open() as content, tarfile.open(fileobj=content) as members:
        return members.getnames()


def digests(parts: list[PartPlan]) -> list[str]:
    found = []
    for part in parts:
        with part.open() as content:
            found.append(hashlib.file_digest(content, "sha256").hexdigest())
    return found


def test_small_files_travel_in_one_part_in_natural_order(tmp_path: Path) -> None:
    (part,) = plan_parts(write_folder(tmp_path, files=12))
    expected = [f"test/image-{n}.png" for n in range(0, 12, 2)] + [
        f"train/image-{n}.png" for n in range(1, 12, 2)
    ]
    assert names(part) == expected
    assert part.filename == "1.tar"


def test_large_files_are_spread_over_parts_without_losing_any(tmp_path: Path) -> None:
    parts = plan_parts(write_folder(tmp_path, files=10, size_bytes=1000), part_bytes=3000)
    assert [len(names(part)) for part in parts] == [3, 3, 3, 1]
    assert [part.size_bytes for part in parts] == [3000, 3000, 3000, 1000]
    assert len({name for part in parts for name in names(part)}) == 10


def test_more_files_than_the_service_takes_parts_travel_in_larger_ones(tmp_path: Path) -> None:
    assert len(plan_parts(write_folder(tmp_path, files=200, size_bytes=200), part_bytes=1)) == 200
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(10_500):
        (folder / f"{number}.png").write_bytes(b"12345678")
    parts = plan_parts(folder, part_bytes=1)
    assert len(parts) <= 10_000
    assert sum(len(part.files) for part in parts) == 10_500


def test_only_the_named_subfolders_are_packed(tmp_path: Path) -> None:
    (part,) = plan_parts(write_folder(tmp_path, files=4), subfolders=("train",))
    assert names(part) == ["train/image-1.png", "train/image-3.png"]


def test_the_same_files_give_the_same_bytes_whoever_touched_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, files=4)
    before = digests(plan_parts(folder))
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert digests(plan_parts(folder)) == before
    (folder / "train" / "image-1.png").write_bytes(b"another")
    assert digests(plan_parts(folder)) != before


def test_a_link_to_an_image_travels_as_the_image(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", files=2)
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "cat.png").symlink_to(tmp_path / "real" / "train" / "image-1.png")
    (part,) = plan_parts(folder)
    with part.open() as content, tarfile.open(fileobj=content) as members:
        (member,) = members.getmembers()
        assert member.isfile()
        assert member.size == 100


def test_what_systems_leave_in_folders_stays_at_home(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / ".hidden" / "photos", files=2)
    for litter in (".DS_Store", "train/Thumbs.db", "__MACOSX/train/._image-1.png"):
        (folder / litter).parent.mkdir(parents=True, exist_ok=True)
        (folder / litter).write_bytes(b"litter")
    (part,) = plan_parts(folder)
    assert names(part) == ["test/image-0.png", "train/image-1.png"]


def test_an_archive_travels_as_it_is(tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    archive.write_bytes(b"PK...")
    (part,) = plan_parts(archive)
    assert part.filename == "photos.zip"
    with part.open() as content:
        assert content.read() == b"PK..."


def test_a_folder_without_files_and_no_folder_at_all_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NothingToUpload, match="holds no files"):
        plan_parts(tmp_path)
    with pytest.raises(NothingToUpload, match="there is no"):
        plan_parts(tmp_path / "photo")
