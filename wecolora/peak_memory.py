"""Measure, in processes of their own, how much memory inference takes on a CPU: ``python -m wecolora.peak_memory``.

A process that has already worked keeps freed memory and would hide what a pass takes. So one process loads the
libraries, and forks a fresh one for each model before any of its threads exist. Linux only: the kernel's count of
resident memory, and its peak, are read from ``/proc/self``.
"""

import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wecolora.teachers import TeacherSpec, image_size_of, load_teacher

_MARK = "peak_memory_bytes="
_PROC = Path("/proc/self")


def measure_peaks(specs: Sequence[TeacherSpec], batch_sizes: Sequence[int]) -> list[list[int | None]]:
    """Peak memory of inference, weights included.

    Args:
        specs: of the models.
        batch_sizes: ascending.

    Returns:
        Bytes, by model, then by batch size: 0 from the batch size on that the kernel ended the process for, None where
        it could not be measured.
    """
    task = {
        "teachers": [dataclasses.asdict(spec) for spec in specs],
        "batch_sizes": list(batch_sizes),
        "threads": torch.get_num_threads(),
    }
    done = subprocess.run(
        [sys.executable, "-m", "wecolora.peak_memory", json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
    )
    peaks: list[list[int | None]] = [[None] * len(batch_sizes) for _ in specs]
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            model, index, peak = json.loads(line.removeprefix(_MARK))
            peaks[model][index] = peak
            if peak == 0:
                peaks[model][index:] = [0] * (len(batch_sizes) - index)
    return peaks


def main(task: str) -> None:
    """Measure one model after the other, each in a fork, and write a line for each batch size."""
    wanted = json.loads(task)
    for number, spec in enumerate(wanted["teachers"]):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            with os.fdopen(writer, "w") as answers:
                _measure(spec, wanted["batch_sizes"], wanted["threads"], answers)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answers:
            peaks = [int(line) for line in answers]
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            peaks.append(0)
        for index, peak in enumerate(peaks):
            sys.stdout.write(f"{_MARK}{json.dumps([number, index, peak])}\n")
        sys.stdout.flush()


@torch.inference_mode()
def _measure(spec: dict[str, Any], batch_sizes: Sequence[int], threads: int, answers: Any) -> None:
    # Where memory runs out, the kernel shall end this process and not the one that waits for it.
    with contextlib.suppress(OSError):
        (_PROC / "oom_score_adj").write_text("1000")
    torch.set_num_threads(threads)
    for name in ("mean", "std"):
        spec[name] = None if spec[name] is None else tuple(spec[name])
    model = load_teacher(TeacherSpec(**spec))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    side = image_size_of(model)
    _give_back_freed_memory()
    (_PROC / "clear_refs").write_text("5")  # the peak starts anew from here
    before = _resident("VmRSS")
    for batch_size in batch_sizes:
        model(torch.randn(batch_size, 3, side, side))
        answers.write(f"{weights + max(0, _resident('VmHWM') - before)}\n")
        answers.flush()


def _give_back_freed_memory() -> None:
    """Return what loading has freed to the kernel, where the C library can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident(field: str) -> int:
    """Bytes of a field of the kernel's status."""
    for line in (_PROC / "status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"the kernel does not tell {field}")


if __name__ == "__main__":
    main(sys.argv[1])
