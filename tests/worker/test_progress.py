"""A job speaks often enough to be watched and seldom enough to be stored."""

from worker.progress import MOST_METRICS, ProgressThrottle


def run(steps: int, seconds_a_step: float) -> tuple[int, int, list[int]]:
    """Rows, metric events, and the steps of the metric events."""
    now = [0.0]
    throttle = ProgressThrottle(lambda: now[0])
    rows, metrics = 0, []
    for step in range(1, steps + 1):
        now[0] += seconds_a_step
        message = throttle.take({"step": step}, step, steps)
        rows += message is not None
        if message is not None and message.is_metric:
            metrics.append(step)
    return rows, len(metrics), metrics


def test_quick_steps_are_thinned_to_two_rows_and_one_event_a_second() -> None:
    rows, metrics, steps = run(steps=10_000, seconds_a_step=0.001)
    assert rows <= 22
    assert metrics <= 12
    assert (steps[0], steps[-1]) == (1, 10_000)


def test_slow_steps_are_all_told() -> None:
    assert run(steps=50, seconds_a_step=5) == (50, 50, list(range(1, 51)))


def test_a_long_job_has_a_bounded_number_of_events() -> None:
    rows, metrics, _ = run(steps=100_000, seconds_a_step=2)
    assert metrics <= MOST_METRICS + 2
    assert rows == 100_000
