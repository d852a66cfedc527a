"""Folders to upload."""

from pathlib import Path


def write_folder(path: Path, files: int, size_bytes: int = 100) -> Path:
    """Files of distinct bytes, half of them in ``train`` and half in ``test``."""
    for number in range(files):
        target = path / ("train" if number % 2 else "test") / f"image-{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(number.to_bytes(2, "big") * (size_bytes // 2))
    return path
