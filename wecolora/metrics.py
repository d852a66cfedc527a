"""``metrics.jsonl``: one JSON object an optimiser step, exact also after a run was resumed."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from wecolora.schedule import Schedule
from wecolora.training import StepResult

# Thousands of steps.
_BUFFER_BYTES = 1 << 20


class MetricsFile:
    """Writes the steps of a run; those before a resumed step are written anew from the checkpoint's history."""

    def __init__(
        self, path: Path, schedule: Schedule, losses: Sequence[float] = (), speeds: Sequence[float] = ()
    ) -> None:
        self._file = path.open("w", buffering=_BUFFER_BYTES)
        for step, (loss, speed) in enumerate(zip(losses, speeds, strict=True)):
            self.append(
                StepResult(step + 1, schedule.epoch_of(step), loss, schedule.learning_rate(step), speed)
            )

    def append(self, result: StepResult) -> None:
        """Write one step."""
        record = {
            "step": result.step,
            "epoch": result.epoch,
            "loss": result.loss,
            "learning_rate": result.learning_rate,
            "images_per_second": round(result.images_per_second, 2),
        }
        self._file.write(json.dumps(record) + "\n")
        # What a full disk does not take now stays in the buffer, and is written with a later step.
        with contextlib.suppress(OSError):
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
