"""The ingester: reads one upload in a process of its own. Started as `python -m worker.ingester`.

Decoders of untrusted files run here: a crash or an exhausted memory ends this process and nothing else.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.left_out import LEFT_OUT_NAME
from core.settings import get_settings
from core.storage import Storage
from worker.childside import Worker, run_child
from worker.contact_sheet import COLUMNS, TILE_PIXELS
from worker.dataset import CONTACT_SHEET_NAME, INDEX_NAME, REPORT_NAME, Report, Shard
from worker.errors import PartDamaged, UploadError
from worker.ingest import Ingest, IngestLimits
from worker.patience import PatientStorage
from worker.progress import ROW_SECONDS
from worker.protocol import ErrorMessage, IngestSpec, PartRef, ProgressMessage, ResultMessage


def ingest(worker: Worker, spec: IngestSpec) -> None:
    """Ingest the upload; what its owner can mend is reported as final."""

    def tell(progress: dict[str, Any]) -> None:
        worker.send(ProgressMessage(progress=progress))

    try:
        result = run(spec, PatientStorage.open(get_settings(), worker), tell)
    except UploadError as error:
        worker.send(ErrorMessage(code=error.code, message=str(error), param="images"))
    else:
        worker.send(result)


def run(
    spec: IngestSpec, storage: Storage, tell: Callable[[dict[str, Any]], None] = lambda progress: None
) -> ResultMessage:
    """Read every part, store shards and index, and last the report that names them.

    Args:
        spec: what to read.
        storage: from where, and where to.
        tell: is told how far it is, about twice a second.
    """
    prefix = f"datasets/{spec.dataset_id}/ingest/{spec.attempt}"
    limits = IngestLimits(spec.max_images, spec.max_pixels, spec.max_bytes, spec.stored_side)

    def store(path: Path, shard: Shard) -> None:
        storage.put_file(f"{prefix}/{shard.name}", path)

    parts_done, told_at = 0, float("-inf")

    def tell_now_and_then() -> None:
        nonlocal told_at
        if (now := time.monotonic()) - told_at >= ROW_SECONDS:
            told_at = now
            tell(
                {
                    "parts": parts_done,
                    "total_parts": len(spec.parts),
                    "images": task.image_count,
                    "skipped": task.skipped_count,
                }
            )

    spec.scratch.mkdir(parents=True, exist_ok=True)
    with Ingest(spec.scratch, limits, store, on_entry=tell_now_and_then) as task:
        for part in spec.parts:
            local = spec.scratch / "part"
            fetch_part(storage, part, local)
            task.add_part(local, part.filename)
            local.unlink()
            parts_done += 1
        report = task.finish()
    for name in (INDEX_NAME, LEFT_OUT_NAME):
        storage.put_file(f"{prefix}/{name}", spec.scratch / name)
    stored = storage.put_file(f"{prefix}/{CONTACT_SHEET_NAME}", spec.scratch / CONTACT_SHEET_NAME)
    sheet = vars(stored) | {"tiles": task.contact_sheet.tiles, "columns": COLUMNS, "tile_pixels": TILE_PIXELS}
    report_key = storage.put_file(f"{prefix}/{REPORT_NAME}", spec.scratch / REPORT_NAME).key
    return ResultMessage(result=_row_values(report) | {"report_key": report_key, "contact_sheet": sheet})


def fetch_part(storage: Storage, part: PartRef, target: Path) -> None:
    """Bring one part here.

    Raises:
        PartDamaged: it is not what was announced, also when it is read once more. A store without checksums
            takes anything by a signed URL, so this is for its owner to mend.
    """
    for _ in range(2):
        if storage.download(part.key, target).sha256 == part.sha256:
            return
    raise PartDamaged(part.filename, part.sha256)


def _row_values(report: Report) -> dict[str, object]:
    """Fields of `core.records.IngestResult`."""
    shared = {"image_count", "skipped_count", "duplicate_count", "size_bytes", "class_names", "splits"}
    statistics = report.model_dump(include={"width", "height", "shorter_sides", "formats", "class_counts"})
    return report.model_dump(include=shared) | {"statistics": statistics}


if __name__ == "__main__":
    run_child(IngestSpec, ingest)
