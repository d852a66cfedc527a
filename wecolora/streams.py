"""What is done at the same time: batches made while networks compute, and numbers read without holding a GPU up."""

import itertools
import math
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


def one_ahead(
    makers: Iterable[Callable[[], tuple[Tensor, ...]]], device: torch.device
) -> Generator[tuple[Tensor, ...]]:
    """Tensors, each group made by a thread of its own while the one before is in use.

    On a GPU they are made on a stream of their own, so that neither copying nor computing them waits for the networks;
    on a processor with half of torch's threads.

    Args:
        makers: of one group each.
        device: that they lie on.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def make(maker: Callable[[], tuple[Tensor, ...]]) -> tuple[tuple[Tensor, ...], torch.cuda.Event | None]:
        with torch.cuda.stream(stream):  # does nothing without a stream
            return maker(), None if stream is None else stream.record_event()

    left = iter(makers)
    with ThreadPoolExecutor(1) as thread:
        _share_cores_with(thread)
        coming = [(maker, thread.submit(make, maker)) for maker in itertools.islice(left, 1)]
        while coming:
            maker, made = coming.pop()
            try:
                tensors, done = made.result()
            except torch.OutOfMemoryError:
                # There was no room beside what the networks keep for a backward pass; now that is over.
                torch.cuda.empty_cache()
                tensors, done = make(maker)
            coming = [(maker, thread.submit(make, maker)) for maker in itertools.islice(left, 1)]
            if done is not None:
                current = torch.cuda.current_stream(device)
                current.wait_event(done)
                for tensor in tensors:
                    # Its memory is not the other stream's again before this one is done.
                    tensor.record_stream(current)
            yield tensors


def _share_cores_with(thread: ThreadPoolExecutor) -> None:
    """Let one thread's products take half as many cores as this one's, so that the two do not crowd each other out."""
    threads = torch.get_num_threads()

    def take_half() -> None:
        torch.get_num_threads()  # a thread's first question sets its number to everybody's
        torch.set_num_threads(math.ceil(threads / 2))

    thread.submit(take_half).result()
    torch.set_num_threads(threads)  # MKL has one number for all
