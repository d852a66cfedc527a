"""What other busy processes do to training, by how long OpenMP's threads spin while they wait.

Trains on the sample in a process of its own for every combination, with nobody else and with one busy process a core.
Prints one line of JSON each: median images a second.

    ./run bench busy_cores
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import describe_machine

SETTINGS: dict[str, dict[str, str]] = {
    "libgomp's default": {},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure every combination."""
    cores = os.cpu_count() or 1
    _print(describe_machine())
    for hogs in (0, cores):
        for name, setting in SETTINGS.items():
            with _busy(hogs):
                _print({"setting": name, "busy_processes": hogs, "images_per_second": _train(setting)})


def train_once() -> None:
    """The measured process: two epochs on the sample's unlabelled digits."""
    import wecolora
    from samples.digits import write_digits

    speeds: list[float] = []

    def note(progress: "wecolora.Progress") -> None:
        if progress.images_per_second is not None:
            speeds.append(progress.images_per_second)

    with tempfile.TemporaryDirectory() as scratch:
        images = write_digits(Path(scratch)).unlabelled
        teacher = ROOT / "samples" / "digits_teacher"
        wecolora.distill(teacher, images, lora_rank=16, epochs=2, batch_size=32, on_progress=note)
    _print({"images_per_second": round(statistics.median(speeds), 1)})


def _train(setting: dict[str, str]) -> float:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}  # noqa: TID251
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.busy_cores", "--train"],
        env={**inherited, **setting}, cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(json.loads(done.stdout.splitlines()[-1])["images_per_second"])


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def _print(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    train_once() if "--train" in sys.argv else main()
