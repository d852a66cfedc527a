"""How fast is the ingest of an upload beside just decoding the same files?

Ingest decodes every file, cleans it (metadata away, one pixel format), hashes its pixels, writes shards and a contact
sheet. Both read the same zip archive in one process each, by turns. Prints JSON lines: the machine, every turn, and the
median share of the speed of just decoding.

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
from pathlib import Path

from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.made_images import write_photographs
from worker.ingest import Ingest, IngestLimits

_LIMITS = IngestLimits(max_images=1_000_000, max_pixels=100_000_000, max_bytes=1 << 40)


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    _print(describe_machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.photographs or write_photographs(Path(scratch) / "images", options.images)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        archive = Path(scratch) / "upload.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as made:
            for file in files:
                made.write(file, file.relative_to(folder))
        shares = []
        for turn in range(options.repeats):
            decoding = _measure(lambda: _decode(archive))
            ingest = _measure(lambda number=turn: _ingest(archive, Path(scratch) / str(number)))  # type: ignore[misc]
            shares.append([theirs / ours for theirs, ours in zip(decoding, ingest, strict=True)])
            _print(
                {
                    "images": len(files),
                    "decoding_images_per_second": round(len(files) / decoding[0], 1),
                    "ingest_images_per_second": round(len(files) / ingest[0], 1),
                }
            )
        by_clock, by_processor = (statistics.median(column) for column in zip(*shares, strict=True))
        _print({"share_by_clock": round(by_clock, 3), "share_by_processor": round(by_processor, 3)})


def _measure(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def _decode(archive: Path) -> None:
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            with Image.open(io.BytesIO(files.read(name))) as image:
                image.convert("RGB").load()


def _ingest(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with Ingest(folder, _LIMITS, lambda path, _shard: path.unlink()) as task:
        task.add_part(archive, "upload.zip")
        task.finish()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=300, help="made for the run")
    parser.add_argument("--photographs", type=Path, help="a folder, instead of made ones")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _print(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
