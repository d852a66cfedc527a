"""What a run is, before its first step: models, images, schedule and setting; and its identity for resuming."""

import hashlib
from dataclasses import dataclass

import torch
from torch import nn

from wecolora.architectures import TransformerLayout
from wecolora.config import DistillConfig
from wecolora.images import ImageSet
from wecolora.schedule import Schedule
from wecolora.teachers import image_size_of
from wecolora.training import Setting


@dataclass(frozen=True)
class Plan:
    """What is known before the first step.

    Attributes:
        teacher: frozen.
        student: with its fresh pairs.
        layout: of the teacher.
        blocks: teacher blocks that the student consists of, counted from 0.
        images: those that are used.
        found: image files in the folder, broken ones included.
        schedule: of the steps.
        setting: device, precision and so on.
        config: as the user gave it.
    """

    teacher: nn.Module
    student: nn.Module
    layout: TransformerLayout
    blocks: tuple[int, ...]
    images: ImageSet
    found: int
    schedule: Schedule
    setting: Setting
    config: DistillConfig


def run_identity(plan: Plan) -> dict[str, object]:
    """What a continued run must share with the one that wrote the checkpoint."""
    settings = plan.config.model_dump(mode="json", exclude={"device", "image_size"})
    return {
        **settings,
        "teacher": _digest_tensors(plan.teacher),
        "images": _digest_images(plan.images),
        "batch_size": plan.schedule.batch_size,
        "precision": plan.setting.precision,
        "pixels": image_size_of(plan.teacher),
    }


def _digest_tensors(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _digest_images(images: ImageSet) -> str:
    """Names and sizes in their order; a folder that moved is still the same."""
    digest = hashlib.sha256()
    for path in images.paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
    return digest.hexdigest()[:16]
