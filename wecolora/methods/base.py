"""What every method tells the one training loop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from wecolora.closed_form import BlockFit, reached
from wecolora.config import DistillConfig, Initialisation, load_line
from wecolora.export import export_student
from wecolora.layouts import Layout
from wecolora.objectives import Objective
from wecolora.views import AugmentedImages


@dataclass(frozen=True)
class Context:
    """What a method may use to prepare a run.

    Attributes:
        teacher: frozen, in eval mode, on the device.
        layout: of the teacher.
        blocks: teacher blocks that the student keeps, counted from 0, ascending.
        config: the settings.
        lora_rank: k of this run.
        images: the augmented views.
        device: to compute on.
        precision: of both networks' passes, ``fp32`` or ``bf16``.
        restoring: the run goes on from a checkpoint, so that what is computed from images need not be computed again:
            the trainer loads it.
        on_progress: called with (done, total) while blocks are computed.
    """

    teacher: nn.Module
    layout: Layout
    blocks: tuple[int, ...]
    config: DistillConfig
    lora_rank: int
    images: AugmentedImages
    device: torch.device
    precision: str = "fp32"
    restoring: bool = False
    on_progress: Callable[[int, int], None] = lambda done, total: None

    def group_ends(self) -> tuple[int, ...]:
        """Last teacher block that each student block stands for, counted from 0."""
        rule = reached if self.config.init is Initialisation.CLOSED_FORM else group_ends
        return rule(self.layout.depth, self.blocks)


def group_ends(depth: int, blocks: Sequence[int]) -> tuple[int, ...]:
    """Where the group of every plain copy ends: M ends for M blocks, the last at ``depth`` - 1.

    A student that keeps block 0 reads what the teacher's groups read, so every kept block stands for itself and the
    skipped ones after it (first-of-group); otherwise for itself and the skipped ones before it (last-of-group).

    Args:
        depth: L.
        blocks: kept blocks, counted from 0, ascending.
    """
    inner = [following - 1 for following in blocks[1:]] if blocks[0] == 0 else list(blocks[:-1])
    return (*inner, depth - 1)


@dataclass
class Preparation:
    """A run before its first step.

    Attributes:
        student: as it is trained; parameters that require gradients are updated.
        objective: what is minimised.
        finish: turns the trained network into the one that is delivered.
        computed: names of the student's tensors that come from images, not from the teacher or from training.
        fits: what the closed form achieved.
        lora_rank: k, where the method has pairs.
        export: writes the delivered network to a folder, with its provenance; by default a folder that timm loads.
        delivers: what that folder holds, in words.
        in_training: what a step runs of the student's side, where that is not the student itself; its cost is reported.
        load: the line of Python that loads the delivered folder, given its path.
        notes: what was done otherwise than the settings say, in whole sentences for the report.
    """

    student: nn.Module
    objective: Objective
    finish: Callable[[nn.Module], nn.Module]
    computed: tuple[str, ...] = ()
    fits: list[BlockFit] = field(default_factory=list)
    lora_rank: int | None = None
    export: Callable[[nn.Module, Path, Mapping[str, object]], Path] = export_student
    delivers: str = "a timm folder"
    in_training: nn.Module | None = None
    load: Callable[[str], str] = load_line
    notes: tuple[str, ...] = ()
