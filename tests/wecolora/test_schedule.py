"""Which images a step sees, and at which learning rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wecolora.schedule import Schedule

SCHEDULES = st.builds(
    Schedule,
    images=st.integers(1, 200),
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 64),
    accumulate=st.integers(1, 5),
    warmup_epochs=st.floats(0, 3),
    peak_learning_rate=st.just(1e-3),
    seed=st.integers(0, 2**63 - 1),
)


@given(SCHEDULES)
def test_every_epoch_sees_every_image_once_and_has_at_least_one_step(schedule):
    seen = [key for batch in schedule.micro_batches(0) for key in batch]
    assert sorted(seen) == [
        (epoch, image) for epoch in range(schedule.epochs) for image in range(schedule.images)
    ]
    assert schedule.total_steps >= schedule.epochs


@given(SCHEDULES, st.data())
def test_the_micro_batches_of_a_continued_run_are_those_that_were_left(schedule, data):
    step = data.draw(st.integers(0, schedule.total_steps))
    everything = list(schedule.micro_batches(0))
    done = sum(len(schedule.step_sizes(earlier)) for earlier in range(step))
    assert list(schedule.micro_batches(step)) == everything[done:]


@given(SCHEDULES)
def test_the_sizes_of_a_step_are_those_of_its_micro_batches(schedule):
    sizes = [size for step in range(schedule.total_steps) for size in schedule.step_sizes(step)]
    assert sizes == [len(batch) for batch in schedule.micro_batches(0)]


@given(SCHEDULES)
def test_the_learning_rate_rises_then_falls_and_is_never_zero_nor_above_the_peak(schedule):
    rates = [schedule.learning_rate(step) for step in range(schedule.total_steps)]
    assert all(0 < rate <= schedule.peak_learning_rate for rate in rates)
    peak = schedule.warmup_steps
    assert rates[peak] == schedule.peak_learning_rate
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_fewer_images_than_a_batch_still_train():
    schedule = Schedule(3, 10, 128, 8, 2, 1e-3, seed=0)
    assert schedule.total_steps == 10
    assert schedule.images_per_step == 3


def test_the_decay_is_half_a_cosine():
    schedule = Schedule(100, 10, 10, 1, 2, 1e-3, seed=0)
    assert schedule.warmup_steps == 20
    assert schedule.learning_rate(20 + 40) == pytest.approx(0.5e-3)
    assert schedule.learning_rate(99) < 1e-6


def test_the_order_differs_from_epoch_to_epoch_and_seed_to_seed():
    def order(seed):
        return [
            image for batch in Schedule(50, 2, 50, 1, 0, 1e-3, seed).micro_batches(0) for _, image in batch
        ]

    first = order(0)
    assert first[:50] != first[50:]
    assert first != order(1)
    assert first == order(0)
