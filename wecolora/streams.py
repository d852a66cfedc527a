"""What is done at the same time: batches made while networks compute, and numbers read without holding a GPU up."""

import itertools
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


class Reading:
    """Numbers that a device has been told to compute; what it is told afterwards need not wait until they are read.

    Args:
        numbers: on any device, and not changed afterwards.

    Attributes:
        numbers: the same, on their device.
    """

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers
        self._read = numbers
        self._done: torch.cuda.Event | None = None
        if numbers.device.type == "cuda":
            self._read = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._read.copy_(numbers, non_blocking=True)
            self._done = torch.cuda.current_stream(numbers.device).record_event()

    def get(self) -> Tensor:
        """The numbers, on the CPU; waits until they are computed, and for nothing else."""
        if self._done is not None:
            self._done.synchronize()
        return self._read


def one_ahead(makers: Iterable[Callable[[], Tensor]], device: torch.device) -> Generator[Tensor]:
    """Tensors, each made by a thread of its own while the one before is in use.

    On a GPU they are made on a stream of their own, so that neither copying nor computing them waits for the networks.

    Args:
        makers: of one tensor each.
        device: that they lie on.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def make(maker: Callable[[], Tensor]) -> tuple[Tensor, torch.cuda.Event | None]:
        with torch.cuda.stream(stream):  # does nothing without a stream
            return maker(), None if stream is None else stream.record_event()

    left = iter(makers)
    with ThreadPoolExecutor(1) as thread:
        coming = [(maker, thread.submit(make, maker)) for maker in itertools.islice(left, 1)]
        while coming:
            maker, made = coming.pop()
            try:
                tensor, done = made.result()
            except torch.OutOfMemoryError:
                # There was no room beside what the networks keep for a backward pass; now that is over.
                torch.cuda.empty_cache()
                tensor, done = make(maker)
            coming = [(maker, thread.submit(make, maker)) for maker in itertools.islice(left, 1)]
            if done is not None:
                current = torch.cuda.current_stream(device)
                current.wait_event(done)
                tensor.record_stream(
                    current
                )  # its memory is not the other stream's again before this one is done
            yield tensor
