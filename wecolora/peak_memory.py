"""Measure, in a process of its own, how much memory inference takes on a CPU: ``python -m wecolora.peak_memory``.

A process that has already worked keeps freed memory and would hide what a pass takes, so each model gets a fresh one.
Linux only: the kernel's count of resident memory, and its peak, are read from ``/proc/self``.
"""

import contextlib
import ctypes
import dataclasses
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from wecolora.teachers import TeacherSpec, image_size_of, load_teacher

_MARK = "peak_memory_bytes="
_PROC = Path("/proc/self")


def command(spec: TeacherSpec, batch_sizes: Sequence[int]) -> list[str]:
    """The command that measures a model."""
    task = {
        "teacher": dataclasses.asdict(spec),
        "batch_sizes": list(batch_sizes),
        "threads": torch.get_num_threads(),
    }
    return [sys.executable, "-m", "wecolora.peak_memory", json.dumps(task)]


def read_answers(output: str) -> list[int]:
    """Bytes of each batch size that the command got to."""
    return [int(line.removeprefix(_MARK)) for line in output.splitlines() if line.startswith(_MARK)]


@torch.inference_mode()
def main(task: str) -> None:
    """Measure one batch size after the other, ascending, and write a line for each."""
    # Where memory runs out, the kernel shall end this process and not the one that waits for it.
    with contextlib.suppress(OSError):
        (_PROC / "oom_score_adj").write_text("1000")
    wanted = json.loads(task)
    torch.set_num_threads(wanted["threads"])
    spec = wanted["teacher"]
    for name in ("mean", "std"):
        spec[name] = None if spec[name] is None else tuple(spec[name])
    model = load_teacher(TeacherSpec(**spec))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    side = image_size_of(model)
    _give_back_freed_memory()
    (_PROC / "clear_refs").write_text("5")  # the peak starts anew from here
    before = _resident("VmRSS")
    for batch_size in wanted["batch_sizes"]:
        model(torch.randn(batch_size, 3, side, side))
        sys.stdout.write(f"{_MARK}{weights + max(0, _resident('VmHWM') - before)}\n")
        sys.stdout.flush()


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
