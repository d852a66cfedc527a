"""How fast is the ingest of an upload beside just decoding the same files?

Ingest decodes every file, cleans it (metadata away, one pixel format), hashes its pixels, writes shards and a contact
sheet. Both read the same zip archive in one process, by turns; decoding is Pillow's of the whole image, without a copy
or a conversion. Small files (0.2 megapixels) and large ones (12 megapixels) apart; the large ones also stored as large
as they came. Prints JSON lines: the machine, every turn, and the median share of the speed of just decoding.

    ./run bench ingest_speed
    ./run bench ingest_speed --photographs FOLDER
"""

import argparse
import io
import json
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.made_images import write_photographs
from core.settings import Settings
from worker.ingest import Ingest, IngestLimits

_LIMITS = IngestLimits(
    max_images=1_000_000,
    max_pixels=100_000_000,
    max_bytes=1 << 40,
    stored_side=Settings.model_fields["max_stored_side"].default,
)
_AS_THEY_CAME = replace(_LIMITS, stored_side=0)


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    _print(describe_machine())
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if options.photographs:
            _compare("given", options.photographs, place, options.repeats, _LIMITS)
            return
        small = write_photographs(place / "small", options.images)
        large = write_photographs(place / "large", options.large_images, large=True)
        _compare("small", small, place, options.repeats, _LIMITS)
        _compare("large", large, place, options.repeats, _LIMITS)
        _compare("large, stored as they came", large, place, options.repeats, _AS_THEY_CAME)


def _compare(name: str, folder: Path, scratch: Path, repeats: int, limits: IngestLimits) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    archive = scratch / "upload.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, strict_timestamps=False) as made:
        for file in files:
            made.write(file, file.relative_to(folder))
    shares, stored = [], 0

    def ingest() -> None:
        nonlocal stored
        stored = _ingest(archive, limits)

    for _ in range(repeats):
        decoding, ingesting = _measure(lambda: _decode(archive)), _measure(ingest)
        shares.append([theirs / ours for theirs, ours in zip(decoding, ingesting, strict=True)])
        _print(
            {
                "files": name,
                "images": len(files),
                "decoding_images_per_second": round(len(files) / decoding[0], 1),
                "ingest_images_per_second": round(len(files) / ingesting[0], 1),
            }
        )
    by_clock, by_processor = (statistics.median(column) for column in zip(*shares, strict=True))
    _print(
        {
            "files": name,
            "share_by_clock": round(by_clock, 3),
            "share_by_processor": round(by_processor, 3),
            "stored_share_of_bytes": round(stored / sum(file.stat().st_size for file in files), 3),
        }
    )


def _measure(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def _decode(archive: Path) -> None:
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            with Image.open(io.BytesIO(files.read(name))) as image:
                image.load()


def _ingest(archive: Path, limits: IngestLimits) -> int:
    """Bytes of what would be stored."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        Ingest(Path(scratch), limits, lambda path, _shard: path.unlink()) as task,
    ):
        task.add_part(archive, "upload.zip")
        return task.finish().size_bytes


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=300, help="small ones, made for the run")
    parser.add_argument("--large-images", type=int, default=24, help="large ones, made for the run")
    parser.add_argument("--photographs", type=Path, help="a folder of JPEGs, instead of made ones")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _print(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
