"""Which device and precision a run uses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

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


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Choose deterministic CUDA kernels for the time of a run; the CPU's are so already."""
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's says that memory did not suffice; on the CPU it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY
    )
