"""What a run says of itself while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        phase: ``loading``, ``preparing``, ``distilling``, ``merging`` or ``exporting``.
        step: optimiser steps done; images decoded while loading; blocks dropped or refitted while preparing.
        total_steps: optimiser steps in all; images found while loading; blocks to drop or refit while preparing.
        epoch: current epoch, counted from 0.
        epochs: in all.
        loss: of the last step.
        learning_rate: of the last step.
        images_per_second: of the last step.
        seconds_left: of the distilling phase, by the speed so far.
        checkpoint: a checkpoint that was written since the last call.
        checkpoint_error: why one that was due could not be written; the run goes on.
    """

    phase: str
    step: int = 0
    total_steps: int = 0
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    checkpoint: Path | None = None
    checkpoint_error: str | None = None


ProgressCallback = Callable[[Progress], None]
