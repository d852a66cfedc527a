"""How often a job speaks: the row about twice a second, metric events so that a job has some thousands at most."""

import time
from collections.abc import Callable
from typing import Any

from worker.protocol import ProgressMessage

ROW_SECONDS = 0.5
METRIC_SECONDS = 1.0
MOST_METRICS = 2000


class ProgressThrottle:
    """Lets a step pass when it is time, and always the first and the last one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._row_at = self._metric_at = float("-inf")
        self._metric_step = float("-inf")

    def take(
        self, progress: dict[str, Any], step: int, total_steps: int, *, has_metrics: bool = True
    ) -> ProgressMessage | None:
        """The message for this step, or None when it is too soon.

        Args:
            progress: for the row.
            step: that is done.
            total_steps: of the phase.
            has_metrics: whether the steps are a training's, which become events, too.
        """
        now = self._clock()
        is_last = step >= total_steps
        is_due = (
            now - self._metric_at >= METRIC_SECONDS
            and (step - self._metric_step) * MOST_METRICS >= total_steps
        )
        is_metric = has_metrics and (is_last or is_due)
        if not is_metric and not is_last and now - self._row_at < ROW_SECONDS:
            return None
        self._row_at = now
        if is_metric:
            self._metric_at, self._metric_step = now, step
        return ProgressMessage(progress=progress, is_metric=is_metric)
