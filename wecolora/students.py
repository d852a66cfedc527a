"""Load what a run delivered, whichever method made it."""

from pathlib import Path

from torch import nn

from wecolora.methods.multiplexing import is_multiplexed, load_multiplexed
from wecolora.teachers import load_teacher


def load_student(folder: Path | str) -> nn.Module:
    """Load the ``student`` folder of a run, in fp32 on the CPU, frozen and in eval mode.

    Students of most methods are plain timm folders, which timm loads as well; those of `minivit` use their blocks
    several times over, and are loaded by this function only.

    Raises:
        InvalidCheckpoint: the folder holds no student, or its tensors do not fit.
        WecoloraError: what `load_teacher` raises.
    """
    if is_multiplexed(Path(folder)):
        return load_multiplexed(Path(folder)).requires_grad_(False)
    return load_teacher(folder)


def student_line(folder: str) -> str:
    """The line of Python that loads a student which timm alone cannot load."""
    return f'wecolora.load_student("{folder}")'
