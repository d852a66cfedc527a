"""Targets are the same whether they are kept or computed again, and are kept within bounds."""

import pytest
import torch

from wecolora.targets import TargetCache

CPU = torch.device("cpu")


class Teacher:
    """Says of a view what its key says, and counts how often it is asked."""

    def __init__(self, factor=1.0):
        self.factor = factor
        self.asked = []

    def __call__(self, keys):
        self.asked.append(list(keys))
        return (
            torch.tensor([[self.factor * (10 * view + index) / 3] * 4 for view, index in keys]),
            torch.tensor([[float(index)] for _, index in keys]),
        )


def ask(cache, teacher, keys):
    return cache.get(keys, CPU, lambda: teacher(keys))


def test_views_that_come_back_in_another_order_are_not_asked_for_again():
    cache, teacher = TargetCache(6), Teacher()
    first = [*ask(cache, teacher, [(0, 0), (0, 1), (0, 2)]), *ask(cache, teacher, [(0, 3), (1, 0)])]
    again = ask(cache, teacher, [(1, 0), (0, 2), (0, 3)])
    assert len(teacher.asked) == 2
    assert torch.equal(again[0], torch.stack([first[2][1], first[0][2], first[2][0]]))
    assert again[1].flatten().tolist() == [0, 2, 3]
    assert again[0].dtype is torch.float32
    assert torch.equal(again[0], again[0].half().float()), "rounded alike the first time"


def test_a_batch_with_a_new_view_is_asked_for_as_a_whole_and_keeps_the_new_ones_alone():
    cache, teacher = TargetCache(6), Teacher()
    ask(cache, teacher, [(0, 0), (0, 1)])
    mixed = ask(cache, teacher, [(0, 1), (0, 2), (0, 3)])
    assert len(teacher.asked) == 2
    again = ask(cache, teacher, [(0, 0), (0, 3), (0, 2)])
    assert len(teacher.asked) == 2
    assert torch.equal(again[0][1:], mixed[0][[2, 1]])
    batches = {id(kept.batch): kept.batch for kept in cache._kept.values()}
    assert sum(len(batch[0]) for batch in batches.values()) == 4, "no row is held twice"


def test_what_half_precision_cannot_hold_stays_as_it_is_and_is_asked_for_again():
    cache, teacher = TargetCache(2), Teacher(factor=1e5)
    first = ask(cache, teacher, [(0, 1), (1, 1)])[0]
    again = ask(cache, teacher, [(0, 1), (1, 1)])[0]
    assert len(teacher.asked) == 2
    assert torch.equal(first, again)
    assert first[1, 0] == pytest.approx(1e5 * 11 / 3)
    assert first[0, 0] == torch.tensor(1e5 / 3).half().float(), "others are rounded as if they were kept"


def test_nothing_is_kept_where_not_everything_can_be(monkeypatch):
    monkeypatch.setattr("wecolora.targets.MEMORY_BYTES", 2 * (4 + 1) * 5)
    for views, asked in [(5, 1), (6, 2)]:
        cache, teacher = TargetCache(views), Teacher()
        for _ in range(2):
            ask(cache, teacher, [(0, 0)])
        assert len(teacher.asked) == asked


def test_memory_that_is_given_back_is_not_taken_again():
    cache, teacher = TargetCache(2), Teacher()
    assert not cache.forget()
    cache = TargetCache(2)
    first = ask(cache, teacher, [(0, 0)])
    assert cache.forget()
    assert not cache.forget()
    for _ in range(2):
        assert torch.equal(ask(cache, teacher, [(0, 0)])[0], first[0])
    assert len(teacher.asked) == 3
