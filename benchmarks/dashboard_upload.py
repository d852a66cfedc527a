"""Does the dashboard stay quick when a hundred thousand images are dropped on it?

Starts the embedded service and a real Chromium, drops a folder of small images on the page of datasets, and prints a
line of JSON: the longest task of the page (what holds it longer than 200 ms is felt), the most memory of the browser's
renderers (page and web worker), files a second of the upload, and images a second of the service that reads them.

    ./run bench dashboard_upload
    ./run bench dashboard_upload --files 20000
"""

import argparse
import io
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from benchmarks.machine import describe_machine
from samples.demo_service import embedded_service
from tests.e2e.dashboard.browser import LAPTOP, LONG_TASKS, Tab, run_chromium
from tools.dashboard import build
from wecolora_client import Client

_MINUTES = 60_000.0
_FILES_IN_FOLDER = 1000
_SIDE = 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    build()
    print(json.dumps(describe_machine()))  # noqa: T201
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "many"
        size_bytes = _write_images(folder, options.files)
        with embedded_service(Path(scratch), None, False, {}) as service, run_chromium() as browser:
            context = browser.new_context(viewport=LAPTOP)
            tab = Tab(context, service.url, Path(scratch))
            result = _drop(tab, folder, options.files)
            with Client(service.url) as client:
                began = time.monotonic()
                dataset = client.wait_for_dataset(tab.page.url.rpartition("/")[2])
                seconds = time.monotonic() - began
            result |= {"bytes": size_bytes, "images": dataset.image_count}
            result["ingested_images_per_second"] = round(options.files / seconds)
            # Before the files are removed, which takes its time.
            print(json.dumps(result), flush=True)  # noqa: T201


def _write_images(folder: Path, count: int) -> int:
    """Bitmaps of one colour each, no two alike; returns their bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE)).save(buffer, "BMP")
    pixels = _SIDE * _SIDE
    header = buffer.getvalue()[: -3 * pixels]
    for number in range(count):
        place = folder / f"{number // _FILES_IN_FOLDER:03d}"
        if number % _FILES_IN_FOLDER == 0:
            place.mkdir(parents=True)
        colour = bytes((number & 255, number >> 8 & 255, number >> 16))
        (place / f"{number:06d}.bmp").write_bytes(header + colour * pixels)
    return count * (len(header) + 3 * pixels)


def _drop(tab: Tab, folder: Path, count: int) -> dict[str, object]:
    """Drop the folder, wait until all has arrived, and go to the dataset's page."""
    tab.page.add_init_script(LONG_TASKS)
    page = tab.open("datasets")
    page.evaluate("longTasks.length = 0")
    with _WatchedMemory() as memory:
        began = time.monotonic()
        tab.drop([folder])
        page.locator("[data-upload=sending], [data-upload=done]").wait_for(timeout=10 * _MINUTES)
        found = time.monotonic() - began
        page.locator("[data-upload=done]").wait_for(timeout=60 * _MINUTES)
        seconds = time.monotonic() - began
    tasks: list[float] = page.evaluate("longTasks")
    tab.open_dataset()
    return {
        "files": count,
        "longest_task_ms": round(max(tasks, default=0.0)),
        "tasks_over_50_ms": len(tasks),
        "seconds_to_find_and_plan": round(found, 1),
        "seconds": round(seconds, 1),
        "files_per_second": round(count / seconds),
        "renderers_peak_mib": round(memory.peak_bytes / 2**20),
        "page_heap_mib": round(_heap_bytes(page) / 2**20),
    }


def _heap_bytes(page: Page) -> float:
    used: float = page.evaluate("performance.memory.usedJSHeapSize")
    return used


class _WatchedMemory:
    """The most resident memory of all renderers below this process, looked at twice a second."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_WatchedMemory":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self.peak_bytes = max(self.peak_bytes, sum(_renderer_bytes()))


def _renderer_bytes() -> Iterator[int]:
    parents, resident = {}, {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended meanwhile, or is another user's
        parents[int(folder.name)] = int(status["PPid"])
        if b"--type=renderer" in command:
            resident[int(folder.name)] = int(status.get("VmRSS", "0").split()[0]) * 1024
    for process, size in resident.items():
        above: int | None = process
        while above and above != os.getpid():
            above = parents.get(above)
        if above == os.getpid():
            yield size


if __name__ == "__main__":
    main()
