"""What is made ahead comes in its order, whole, and no further ahead than one."""

import threading

import pytest
import torch

from wecolora.streams import Reading, one_ahead

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))
CPU = torch.device("cpu")


def numbered(count, made):
    """Makers of 0, 1, 2 …, which note what they made."""

    def maker(number):
        def make():
            made.append(number)
            return (torch.tensor(number),)

        return make

    return (maker(number) for number in range(count))


def until(condition):
    waiting = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waiting.wait(0.005)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_tensors_come_in_their_order(device):
    made = []
    assert [int(tensor) for (tensor,) in one_ahead(numbered(5, made), torch.device(device))] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert made == [0, 1, 2, 3, 4]


def test_one_is_made_while_another_is_in_use_and_no_more():
    made = []
    tensors = one_ahead(numbered(9, made), CPU)
    assert int(*next(tensors)) == 0
    until(lambda: made == [0, 1])
    threading.Event().wait(0.1)
    assert made == [0, 1]
    assert int(*next(tensors)) == 1
    until(lambda: made == [0, 1, 2])
    before = threading.active_count()
    tensors.close()
    assert threading.active_count() < before, "the thread ends with its user"


@pytest.mark.parametrize(("threads", "half"), [(1, 1), (2, 1), (5, 3)])
def test_a_maker_computes_with_half_of_the_threads(threads, half):
    def maker():
        torch.randn(300, 300) @ torch.randn(300, 300)
        return (torch.tensor(torch.get_num_threads()),)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert [int(number) for (number,) in one_ahead([maker, maker], CPU)] == [half, half]
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_what_goes_wrong_is_said_where_the_tensor_is_asked_for():
    def broken():
        raise OSError("the disk cannot be read")

    tensors = one_ahead([lambda: (torch.tensor(7),), broken], CPU)
    assert int(*next(tensors)) == 7
    with pytest.raises(OSError, match="cannot be read"):
        next(tensors)


def test_what_there_was_no_room_for_is_made_when_there_is():
    calls = []

    def tight():
        calls.append(threading.current_thread())
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return (torch.tensor(1),)

    assert [int(tensor) for (tensor,) in one_ahead([tight, lambda: (torch.tensor(2),)], CPU)] == [1, 2]
    assert calls[0] is not calls[1] is threading.current_thread()

    def never():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(torch.OutOfMemoryError):
        next(one_ahead([never], CPU))


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_a_reading_is_of_the_moment_that_it_was_asked_for(device):
    reading = Reading(torch.ones(3, device=device) * 2)
    assert reading.get().tolist() == [2, 2, 2]
    assert reading.get().device == CPU
