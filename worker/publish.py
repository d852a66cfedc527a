"""Pack and store what a finished job delivers."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.storage import Storage
from worker.protocol import ArtifactRef

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say: the same student gives the same bytes
_DRAWN_BY_PAGES = ("tsne.json", "tsne.jpg", "attention.json", "attention.jpg")
_TYPES = {
    ".jpg": "image/jpeg",
    ".html": "text/html; charset=utf-8",
    ".safetensors": "application/octet-stream",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".zip": "application/zip",
    ".onnx": "application/octet-stream",
}


def zip_folder(folder: Path, target: Path) -> None:
    """Pack a folder under its own name, without compression: neither weights nor PNG compress."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as bundle:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            info = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", _EPOCH)
            info.external_attr = 0o644 << 16
            with path.open("rb") as source, bundle.open(info, "w", force_zip64=True) as packed:
                while chunk := source.read(1 << 20):
                    packed.write(chunk)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report with what the service added."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def store_artifacts(storage: Storage, out: Path, prefix: str) -> list[ArtifactRef]:
    """Store the files of a finished run under an attempt's prefix.

    Not every run has all of them: without adapters there is no ``adapter.safetensors``, and ONNX is for those who ask.

    They can be downloaded only once the worker has published them with the success of the job.
    """
    student = out / "student"
    files = {
        "student.safetensors": student / "model.safetensors",
        "config.json": student / "config.json",
        "student.zip": out / "student.zip",
        "student.onnx": out / "student.onnx",
        "adapter.safetensors": out / "adapter.safetensors",
        "metrics.jsonl": out / "metrics.jsonl",
        "report.json": out / "report.json",
        "report.html": out / "report.html",
        "pictures.zip": out / "pictures.zip",
        # For pages that draw them by themselves; the same files are in the zip.
        **{name: out / "pictures" / name for name in _DRAWN_BY_PAGES},
    }
    artifacts = []
    for name, path in files.items():
        if not path.is_file():
            continue
        stored = storage.put_file(f"{prefix}/{name}", path)
        artifacts.append(
            ArtifactRef(
                name=name,
                key=stored.key,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                content_type=_TYPES[path.suffix],
            )
        )
    return artifacts
