"""Speed and memory of inference at several batch sizes, models side by side.

Legend: B images in a batch, S side of the network's square input.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from wecolora.devices import is_out_of_memory
from wecolora.errors import OutOfRange
from wecolora.teachers import TeacherSpec, image_size_of

Source = nn.Module | TeacherSpec | str | Path

DEFAULT_BATCH_SIZES = (1, 8, 32)
LARGEST_BATCH = 4096
_LEAST_RUNS = 3
_MOST_RUNS = 20


@dataclass(frozen=True)
class BatchCost:
    """Cost of inference with one batch size.

    Attributes:
        batch_size: B.
        latency_ms: median time of a batch; None when the device's memory does not hold it.
        images_per_second: B over that time; None likewise.
        peak_memory_bytes: weights, and the most that one pass needs beside them. On CUDA it is what torch's allocator
            had handed out at its peak. On the CPU it is measured in a process of its own: the weights, and by how much
            the process's resident memory grew at its peak, which counts what the libraries use for themselves; known
            on Linux, for models that come from a name, a folder or a file. None where it is not known.
    """

    batch_size: int
    latency_ms: float | None
    images_per_second: float | None
    peak_memory_bytes: int | None


def check_batch_sizes(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    """Distinct batch sizes in ascending order.

    Raises:
        OutOfRange: one is less than 1 or more than `LARGEST_BATCH`.
    """
    for size in batch_sizes:
        if not 1 <= size <= LARGEST_BATCH:
            raise OutOfRange("batch_sizes", size, f"from 1 to {LARGEST_BATCH}")
    return tuple(sorted(set(batch_sizes)))


def measure_batches(
    models: Sequence[nn.Module],
    sources: Sequence[Source],
    device: torch.device,
    batch_sizes: Sequence[int],
    seconds: float = 1.0,
) -> list[tuple[BatchCost, ...]]:
    """Measure every model at every batch size, their runs alternating, so that a busy machine slows them alike.

    Args:
        models: in eval mode, on the device.
        sources: where each comes from; those that are files are measured for memory on the CPU.
        device: that the models lie on.
        batch_sizes: ascending.
        seconds: to spend on each model and batch size, warm-up aside.
    """
    memory: list[list[int | None]]
    if device.type == "cuda":
        memory = [_cuda_memory(model, device, batch_sizes) for model in models]
    else:
        memory = _process_memory(sources, batch_sizes)
    costs: list[list[BatchCost]] = [[] for _ in models]
    for index, batch_size in enumerate(batch_sizes):
        fitting = [number for number, peaks in enumerate(memory) if peaks[index] != 0]
        latencies = _alternate([models[number] for number in fitting], device, batch_size, seconds)
        by_number = dict(zip(fitting, latencies, strict=True))
        for number, rows in enumerate(costs):
            latency = by_number.get(number)
            speed = None if latency is None else batch_size / latency
            in_ms = None if latency is None else 1e3 * latency
            rows.append(BatchCost(batch_size, in_ms, speed, memory[number][index] or None))
    return [tuple(rows) for rows in costs]


def timed(model: nn.Module, images: torch.Tensor, device: torch.device) -> float:
    """Seconds of one pass."""
    started = time.perf_counter()
    model(images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


@torch.inference_mode()
def _alternate(
    models: Sequence[nn.Module], device: torch.device, batch_size: int, seconds: float
) -> list[float | None]:
    """Median seconds of a batch for each model; None where memory does not suffice."""
    times: list[list[float] | None] = []
    inputs = []
    for model in models:
        side = image_size_of(model)
        try:
            images = torch.randn(batch_size, 3, side, side, device=device)
            timed(model, images, device)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            inputs.append(torch.empty(0))
            times.append(None)
        else:
            inputs.append(images)
            times.append([])
    measured = [
        (model, images, runs)
        for model, images, runs in zip(models, inputs, times, strict=True)
        if runs is not None
    ]
    while measured and not _enough([runs for _, _, runs in measured], seconds):
        for model, images, runs in measured:
            runs.append(timed(model, images, device))
    return [None if runs is None else statistics.median(runs) for runs in times]


def _enough(times: Sequence[Sequence[float]], seconds: float) -> bool:
    runs = len(times[0])
    spent = sum(map(sum, times)) >= seconds * len(times)
    return runs >= _MOST_RUNS or (runs >= _LEAST_RUNS and spent)


@torch.inference_mode()
def _cuda_memory(model: nn.Module, device: torch.device, batch_sizes: Sequence[int]) -> list[int | None]:
    """Bytes at the peak of each batch size, other models on the device left out; 0 where it does not fit."""
    own = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    side = image_size_of(model)
    peaks: list[int | None] = []
    for batch_size in batch_sizes:
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            timed(model, torch.randn(batch_size, 3, side, side, device=device), device)
        except torch.OutOfMemoryError:
            peaks.append(0)
        else:
            peaks.append(own + torch.cuda.max_memory_allocated(device) - before)
    return peaks


def _process_memory(sources: Sequence[Source], batch_sizes: Sequence[int]) -> list[list[int | None]]:
    """Bytes at the peak of each batch size; 0 where the measuring process died of it, None where it is not known."""
    unknown: list[int | None] = [None] * len(batch_sizes)
    specs = [
        source if isinstance(source, TeacherSpec) else TeacherSpec(str(source))
        for source in sources
        if not isinstance(source, nn.Module)
    ]
    if not specs or not batch_sizes or sys.platform != "linux":
        return [unknown] * len(sources)
    from wecolora.peak_memory import measure_peaks

    measured = iter(measure_peaks(specs, batch_sizes))
    return [unknown if isinstance(source, nn.Module) else next(measured) for source in sources]
