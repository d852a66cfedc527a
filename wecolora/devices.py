"""Which device and precision a run uses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from wecolora.errors import DeviceUnavailable, OutOfRange
from wecolora.plain_attention import PlainAttention

_BF16_WIDTH = 256
# What torch's CPU allocator says, on POSIX and on Windows.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")


def resolve_device(device: str) -> torch.device:
    """``auto`` is CUDA when it is there, else the CPU.

    Raises:
        DeviceUnavailable: when CUDA is asked for and absent.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceUnavailable(device)
    return torch.device(device)


def check_devices(device: torch.device, devices: int, *, teacher_can_be_loaded: bool) -> None:
    """Make sure that so many devices of a kind can be used at once.

    Args:
        device: of the first process.
        devices: wanted.
        teacher_can_be_loaded: by other processes.

    Raises:
        OutOfRange: they cannot.
    """
    if devices == 1:
        return
    if not teacher_can_be_loaded:
        why = "the other processes load the teacher themselves: give its name, folder or file"
        raise OutOfRange("devices", devices, "1", why)
    there = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count() or 1
    if devices > there:
        kind = "GPUs" if device.type == "cuda" else "processor cores"
        raise OutOfRange("devices", devices, f"1 to {there}, the {kind} of this machine")


def resolve_precision(precision: str, device: torch.device, embed_dim: int) -> str:
    """``auto`` is bf16 where the device computes it natively and the network is wide enough to gain from it, else fp32.

    Args:
        precision: ``auto``, ``fp32`` or ``bf16``.
        device: to compute on.
        embed_dim: token width D; below 256 a processor spends more on conversions than it saves.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if embed_dim >= _BF16_WIDTH and _processor_has_bf16() else "fp32"


def _processor_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """bf16 autocast, or nothing."""
    if precision != "bf16":
        yield
        return
    # Only the processor's fused attention is slow, and a mode costs time at every call.
    attention = PlainAttention() if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, dtype=torch.bfloat16), attention:
        yield


def spare_bytes(gpu: torch.device) -> int:
    """What may be kept in a GPU's memory that would have room elsewhere: a quarter of what is free of it."""
    free, _ = torch.cuda.mem_get_info(gpu)
    return free // 4


def kept_on(device: torch.device, wanted: int) -> torch.device:
    """Where data of so many bytes is kept that a device works on again and again: there, or else on the host."""
    return device if device.type == "cuda" and spare_bytes(device) >= wanted else torch.device("cpu")


@contextmanager
def exact_products_of_bf16(device: torch.device) -> Iterator[None]:
    """Multiply float32 numbers that bf16 can hold by the units for bf16 (on a GPU: TF32), and sum in float32.

    Nothing is rounded on the way, unlike in a product of bf16 matrices, whose result is bf16 as well.
    """
    backends: Any = torch.backends  # its type does not know all of them
    backend = backends.cuda.matmul if device.type == "cuda" else backends.mkldnn.matmul
    before = backend.fp32_precision
    backend.fp32_precision = "tf32" if device.type == "cuda" else "bf16"
    try:
        yield
    finally:
        backend.fp32_precision = before


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Choose deterministic CUDA kernels for the time of a run; the CPU's are so already."""
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    told: Any = torch.utils.deterministic  # its type does not know what it can be told
    filled = told.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Every new tensor would be filled with NaN first, for the sake of programs that read what they never wrote.
    told.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        told.fill_uninitialized_memory = filled


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's says that memory did not suffice; on the CPU it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY
    )
