"""The form of an ingested dataset: tar shards of clean images, an index, what was left out, and a report.

`report.json` is the manifest and is stored last, so a dataset whose report can be read is complete.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

INDEX_NAME = "index.jsonl"
REPORT_NAME = "report.json"
CONTACT_SHEET_NAME = "contact-sheet.jpg"
Split = Literal["train", "test", "val"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IndexEntry(_Frozen):
    """One image: where it lies and what its owner called it."""

    shard: str
    name: str
    path: str
    class_name: str | None = None
    split: Split | None = None
    width: int
    height: int
    sha256: str


class Shard(_Frozen):
    """One tar of images."""

    name: str
    size_bytes: int
    sha256: str
    images: int


class SkippedFile(_Frozen):
    """A file that was left out."""

    path: str
    reason: str


class SizeRange(_Frozen):
    """Smallest, middle and largest extent of the images, in pixels."""

    min: int
    median: int
    max: int


class SizeBin(_Frozen):
    """How many images have a shorter side of so many pixels."""

    from_pixels: int
    to_pixels: int
    """The bin's largest, itself in it."""
    images: int


class Report(_Frozen):
    """What became of an upload. `skipped` and `duplicates` are cut at some length; `core.left_out` has them all."""

    image_count: int
    skipped_count: int
    duplicate_count: int
    size_bytes: int
    class_names: list[str] | None
    splits: dict[str, int] | None
    width: SizeRange
    height: SizeRange
    shorter_sides: list[SizeBin] = []
    """From the smallest to the largest image, empty bins between them in their place."""
    formats: dict[str, int] = {}
    """Images by the format that they came in."""
    class_counts: dict[str, int] | None = None
    shards: list[Shard]
    skipped: list[SkippedFile]
    duplicates: list[SkippedFile]


def read_index(path: Path) -> Iterator[IndexEntry]:
    """Read an index line by line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield IndexEntry.model_validate_json(line)


def index_line(entry: IndexEntry) -> str:
    """One line of the index."""
    return json.dumps(entry.model_dump(exclude_none=True), separators=(",", ":"), ensure_ascii=False) + "\n"
