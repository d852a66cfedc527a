"""One running service for most tests, and the digits that every installation carries."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from samples.digits import write_digits
from tests.e2e.service import Service


def pack(folder: Path, base: Path, limit: int | None = None) -> bytes:
    """Zip a folder's images under their names below `base`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for path in sorted(folder.rglob("*.png"))[:limit]:
            bundle.write(path, path.relative_to(base).as_posix())
    return buffer.getvalue()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"))
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Zips: `unlabelled` and `labelled` (train/CLASS, test/CLASS)."""
    folder = tmp_path_factory.mktemp("digits")
    parts = write_digits(folder)
    labelled = io.BytesIO()
    with zipfile.ZipFile(labelled, "w") as bundle:
        for split in (parts.train, parts.test):
            for class_folder in sorted(split.iterdir()):
                for path in sorted(class_folder.iterdir())[:30]:
                    bundle.write(path, f"{split.name}/{class_folder.name}/{path.name}")
    return {
        "unlabelled": pack(parts.unlabelled, folder, limit=200),
        "labelled": labelled.getvalue(),
    }
