"""What a trainer says of its GPU."""

import torch


def gpu_memory() -> dict[str, int]:
    """Used and whole memory of the GPU in use, by whomever it is used; nothing where none is.

    Asking must not be what takes a GPU: a job that trains on the processor leaves it alone.
    """
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"gpu_memory_bytes": total - free, "gpu_memory_total_bytes": total}
