"""What a benchmark ran on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe_machine() -> dict[str, object]:
    """Processor, cores, memory and versions, as JSON values."""
    facts: dict[str, object] = {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "timm")},
    }
    memory = _first("/proc/meminfo", "MemTotal")
    if memory is not None:
        facts["memory_gib"] = round(int(memory.split()[0]) / 2**20)
    return facts


def _first(file: str, key: str) -> str | None:
    path = Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)
