"""How fast is the ingest of an upload beside just decoding the same files?

Ingest reads every bit of every file, cleans it (metadata away, one pixel format), encodes again what it cannot copy,
drops duplicates, writes shards and a contact sheet. Both read the same zip archive, in one process each, by turns.
Decoding is Pillow's of the whole image, without a copy or a conversion. Files of 0.2, 2 and 12 megapixels apart; the
small also progressive, the large also stored as large as they came. Prints JSON lines: the machine, every turn, and the
median share of the speed of just decoding.

    ./run bench ingest_speed
    ./run bench ingest_speed --photographs FOLDER
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.made_images import Kind, write_photographs
from core.settings import Settings
from worker.ingest import Ingest, IngestLimits

_STORED_SIDE: int = Settings.model_fields["max_stored_side"].default
_MEGAPIXELS: dict[Kind, float] = {"small": 0.2, "medium": 2, "large": 12}
Work = Literal["decode", "ingest"]


@dataclass(frozen=True)
class _Turn:
    """What one process took for the whole archive, without its start and its imports."""

    clock_seconds: float
    processor_seconds: float
    stored_bytes: int = 0


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    if options.turn:
        _print(vars(_measure(options.turn, options.archive, options.stored_side)))
        return
    _print(describe_machine())
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if options.photographs:
            _compare("given", options.photographs, place, options.repeats)
            return
        counts: dict[Kind, int] = {
            "small": options.images,
            "medium": options.medium_images,
            "large": options.large_images,
        }
        for kind, count in counts.items():
            folder = write_photographs(place / kind, count, kind)
            _compare(f"{_MEGAPIXELS[kind]} megapixels", folder, place, options.repeats)
        progressive = _made_progressive(place / "small", place / "progressive")
        _compare("0.2 megapixels, progressive", progressive, place, options.repeats)
        _compare("12 megapixels, stored as they came", place / "large", place, options.repeats, stored_side=0)


def _made_progressive(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        with Image.open(file) as image:
            image.save(target / file.name, quality="keep", progressive=True)
    return target


def _compare(name: str, folder: Path, scratch: Path, repeats: int, stored_side: int = _STORED_SIDE) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    archive = scratch / "upload.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, strict_timestamps=False) as made:
        for file in files:
            made.write(file, file.relative_to(folder))
    turns = []
    for _ in range(repeats):
        decoding = _in_a_process("decode", archive, stored_side)
        ingesting = _in_a_process("ingest", archive, stored_side)
        turns.append((decoding, ingesting))
        _print(
            {
                "files": name,
                "images": len(files),
                "decoding_images_per_second": round(len(files) / decoding.clock_seconds, 1),
                "ingest_images_per_second": round(len(files) / ingesting.clock_seconds, 1),
                "decoding_processor_ms": round(1000 * decoding.processor_seconds / len(files), 2),
                "ingest_processor_ms": round(1000 * ingesting.processor_seconds / len(files), 2),
            }
        )
    _print(
        {
            "files": name,
            "share_by_clock": _median(a.clock_seconds / b.clock_seconds for a, b in turns),
            "share_by_processor": _median(a.processor_seconds / b.processor_seconds for a, b in turns),
            "stored_share_of_bytes": round(
                turns[0][1].stored_bytes / sum(file.stat().st_size for file in files), 3
            ),
        }
    )


def _median(shares: Iterable[float]) -> float:
    return round(statistics.median(shares), 3)


def _in_a_process(work: Work, archive: Path, stored_side: int) -> _Turn:
    command = [sys.executable, "-m", "benchmarks.ingest_speed", "--turn", work, "--archive", str(archive)]
    done = subprocess.run(
        [*command, "--stored-side", str(stored_side)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return _Turn(**json.loads(done.stdout))


def _measure(work: Work, archive: Path, stored_side: int) -> _Turn:
    started, used = time.perf_counter(), time.process_time()
    stored = _ingest(archive, stored_side) if work == "ingest" else _decode(archive)
    return _Turn(time.perf_counter() - started, time.process_time() - used, stored)


def _decode(archive: Path) -> int:
    """Nothing is stored."""
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            with Image.open(io.BytesIO(files.read(name))) as image:
                image.load()
    return 0


def _ingest(archive: Path, stored_side: int) -> int:
    """Bytes of what would be stored."""
    limits = IngestLimits(1_000_000, max_pixels=100_000_000, max_bytes=1 << 40, stored_side=stored_side)
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
    parser.add_argument("--images", type=int, default=2000, help="small ones, made for the run")
    parser.add_argument("--medium-images", type=int, default=60, help="of 2 megapixels, made for the run")
    parser.add_argument("--large-images", type=int, default=24, help="large ones, made for the run")
    parser.add_argument("--photographs", type=Path, help="a folder of JPEGs, instead of made ones")
    parser.add_argument("--repeats", type=int, default=5)
    turn = parser.add_argument_group("one turn, in the process that the script starts for it")
    turn.add_argument("--turn", choices=["decode", "ingest"])
    turn.add_argument("--archive", type=Path)
    turn.add_argument("--stored-side", type=int, default=_STORED_SIDE)
    return parser.parse_args()


def _print(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
