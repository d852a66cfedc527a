"""Make a dataset of untrusted uploads: unpack, clean, drop duplicates, read labels, write shards."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from core.left_out import LEFT_OUT_NAME, LeftOutFile, LeftOutKind
from worker.archive import Budget, Entry, UnpackLimits
from worker.contact_sheet import TILE_PIXELS, ContactSheet
from worker.dataset import (
    CONTACT_SHEET_NAME,
    INDEX_NAME,
    REPORT_NAME,
    IndexEntry,
    Report,
    Shard,
    SizeBin,
    SizeRange,
    SkippedFile,
    index_line,
    read_index,
)
from worker.errors import NoImages, TooManyBadFiles, TooManyImages
from worker.images import BadImage, clean_image
from worker.labels import Folders, folders_of, plan_folders
from worker.shards import SHARD_BYTES, ShardWriter
from worker.unpack import read_entries

_MAX_LISTED = 1000
_MAX_BAD_SHARE = 0.5
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class IngestLimits:
    """What one dataset may hold."""

    max_images: int
    max_pixels: int
    max_bytes: int
    stored_side: int = 0
    """Most pixels of the shorter side of what is stored; 0: images are stored as large as they came."""

    def unpack_limits(self) -> UnpackLimits:
        """Limits of the archives. Folders, side files and duplicates get room beside the images."""
        return UnpackLimits(
            max_entries=2 * self.max_images + 10_000,
            max_bytes=self.max_bytes,
            # No image under the pixel cap needs more than 16-bit RGBA, uncompressed.
            max_file_bytes=min(self.max_bytes, 8 * self.max_pixels + _MEBIBYTE),
        )


@dataclass
class _Tally:
    """What is remembered of all images at once: some tens of bytes each."""

    digests: set[bytes] = field(default_factory=set)
    """SHA-256 of what is stored of each image: duplicates are files of which the same would be stored."""
    folders: set[Folders] = field(default_factory=set)
    widths: "array[int]" = field(default_factory=lambda: array("I"))
    heights: "array[int]" = field(default_factory=lambda: array("I"))
    formats: Counter[str] = field(default_factory=Counter)
    skipped: list[SkippedFile] = field(default_factory=list)
    skipped_count: int = 0
    duplicates: list[SkippedFile] = field(default_factory=list)
    duplicate_count: int = 0

    def leave_out(self, file: LeftOutFile) -> None:
        """Count a file, and name it in the report while there is room; the list beside it names all."""
        if file.kind is LeftOutKind.SKIPPED:
            self.skipped_count += 1
            named = self.skipped
        else:
            self.duplicate_count += 1
            named = self.duplicates
        if len(named) < _MAX_LISTED:
            named.append(SkippedFile(path=file.path, reason=file.reason))


class Ingest:
    """Takes parts in order and writes one dataset. Memory does not grow with the size of the parts."""

    def __init__(
        self,
        folder: Path,
        limits: IngestLimits,
        on_shard: Callable[[Path, Shard], None],
        shard_bytes: int = SHARD_BYTES,
        on_entry: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._limits = folder, limits
        self._budget = Budget(limits.unpack_limits())
        self._writer = ShardWriter(folder, on_shard, shard_bytes)
        self._draft = (folder / "draft.jsonl").open("w", encoding="utf-8")
        self._left_out = (folder / LEFT_OUT_NAME).open("w", encoding="utf-8")
        self._tally = _Tally()
        self._on_entry = on_entry
        self.contact_sheet = ContactSheet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._draft.close()
        self._left_out.close()
        self._writer.discard()

    @property
    def image_count(self) -> int:
        """Images taken so far."""
        return len(self._tally.widths)

    @property
    def skipped_count(self) -> int:
        """Files left out so far."""
        return self._tally.skipped_count

    def add_part(self, path: Path, filename: str) -> None:
        """Read one uploaded part: an archive or a single image.

        Raises:
            UploadError: when the whole upload must be refused.
        """
        for entry in read_entries(path, filename, self._budget):
            self._add(entry)
            self._on_entry()

    def _add(self, entry: Entry) -> None:
        tally = self._tally
        if entry.problem is not None:
            self._leave_out(LeftOutKind.SKIPPED, entry, entry.problem)
            return
        limits = self._limits
        preview_side = TILE_PIXELS if self.contact_sheet.takes(self.image_count) else 0
        try:
            image = clean_image(entry.data, limits.max_pixels, limits.stored_side, preview_side)
        except BadImage as bad:
            self._leave_out(LeftOutKind.SKIPPED, entry, bad.reason)
            return
        digest = hashlib.sha256(image.data)
        if digest.digest() in tally.digests:
            self._leave_out(LeftOutKind.DUPLICATE, entry, "is stored as the same image as an earlier one")
            return
        if len(tally.widths) >= limits.max_images:
            raise TooManyImages(limits.max_images)
        # The server makes the name, so that no two collide and none means anything to a file system.
        name = f"{len(tally.widths):08d}{image.suffix}"
        tally.digests.add(digest.digest())
        tally.folders.add(folders_of(entry.name))
        tally.widths.append(image.source_size[0])
        tally.heights.append(image.source_size[1])
        tally.formats[image.source_format] += 1
        self.contact_sheet.add(self.image_count - 1, image.preview)
        shard = self._writer.add(name, image.data)
        self._draft.write(
            index_line(
                IndexEntry(
                    shard=shard,
                    name=name,
                    path=entry.name,
                    width=image.size[0],
                    height=image.size[1],
                    sha256=digest.hexdigest(),
                )
            )
        )

    def _leave_out(self, kind: LeftOutKind, entry: Entry, reason: str) -> None:
        file = LeftOutFile(kind, entry.name, reason)
        self._tally.leave_out(file)
        self._left_out.write(file.to_line())

    def finish(self) -> Report:
        """Write the index, the contact sheet, the list of what was left out and the report into the folder.

        Raises:
            NoImages, TooManyBadFiles: when what is left is not worth a dataset.
        """
        self._draft.close()
        self._left_out.close()
        self._refuse_bad_uploads()
        self._writer.close()
        tally = self._tally
        plan = plan_folders(tally.folders)
        splits: dict[str, int] = {}
        classes: Counter[str] = Counter()
        with (self._folder / INDEX_NAME).open("w", encoding="utf-8") as index:
            for entry in read_index(self._folder / "draft.jsonl"):
                folders = folders_of(entry.path)
                split = plan.split_of(folders)
                if split:
                    splits[split] = splits.get(split, 0) + 1
                class_name = plan.class_of(folders)
                if class_name is not None:
                    classes[class_name] += 1
                labels = {"split": split, "class_name": class_name}
                index.write(index_line(entry.model_copy(update=labels)))
        report = Report(
            image_count=self.image_count,
            skipped_count=tally.skipped_count,
            duplicate_count=tally.duplicate_count,
            size_bytes=sum(shard.size_bytes for shard in self._writer.shards),
            class_names=plan.class_names,
            splits=splits or None,
            width=_range(tally.widths),
            height=_range(tally.heights),
            shorter_sides=_histogram(map(min, tally.widths, tally.heights)),
            formats=dict(sorted(tally.formats.items())),
            class_counts=dict(sorted(classes.items())) or None,
            shards=self._writer.shards,
            skipped=tally.skipped,
            duplicates=tally.duplicates,
        )
        (self._folder / CONTACT_SHEET_NAME).write_bytes(self.contact_sheet.encode())
        (self._folder / REPORT_NAME).write_text(json.dumps(report.model_dump(), indent=1), encoding="utf-8")
        return report

    def _refuse_bad_uploads(self) -> None:
        tally, images = self._tally, self.image_count
        example = f"{tally.skipped[0].path} {tally.skipped[0].reason}." if tally.skipped else None
        if images == 0:
            raise NoImages(tally.skipped_count, example)
        usable = images + tally.duplicate_count
        if example and tally.skipped_count > _MAX_BAD_SHARE * (usable + tally.skipped_count):
            raise TooManyBadFiles(tally.skipped_count, usable, example)


def _range(values: Iterable[int]) -> SizeRange:
    ordered = sorted(values)
    return SizeRange(min=ordered[0], median=ordered[len(ordered) // 2], max=ordered[-1])


def _histogram(values: Iterable[int]) -> list[SizeBin]:
    """Two bins an octave: 1, 2, 3, 4 to 5, 6 to 7, 8 to 11, 12 to 15, and so on."""
    counts = Counter(map(_bin_of, values))
    bins = range(min(counts), max(counts) + 1)
    return [SizeBin(from_pixels=_start(b), to_pixels=_start(b + 1) - 1, images=counts[b]) for b in bins]


def _bin_of(value: int) -> int:
    """Number of the bin, from 1; its inverse is `_start`."""
    octave = value.bit_length() - 1
    return 2 * octave + (value >= 3 << octave >> 1) if octave else 1


def _start(number: int) -> int:
    octave, half = divmod(number, 2)
    return ((2 + half) << octave) >> 1
