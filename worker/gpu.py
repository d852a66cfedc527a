"""What a trainer says of the device it computes on."""

import platform
from pathlib import Path

import torch

_CPU_INFO = Path("/proc/cpuinfo")


def device_name(device: str) -> str:
    """The make of the device, so that times measured on it are compared with no other's.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, platform.processor() or platform.machine())
    threads = torch.get_num_threads()
    return f"{model}, {threads} thread{'s' if threads > 1 else ''}"


def gpu_memory() -> dict[str, int]:
    """Used and whole memory of the GPU in use, by whomever it is used; nothing where none is.

    Asking must not be what takes a GPU: a job that trains on the processor leaves it alone.
    """
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"gpu_memory_bytes": total - free, "gpu_memory_total_bytes": total}
