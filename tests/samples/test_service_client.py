import io
import tarfile
from pathlib import Path

from samples.service_client import pack_folder


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
    expected = [f"test/image-{n}.png" for n in range(0, 12, 2)] + [f"train/image-{n}.png" for n in range(1, 12, 2)]
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
