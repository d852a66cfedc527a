"""What a run is, before its first step: models, images, schedule and setting; and its identity for resuming."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from wecolora.architectures import TransformerLayout, describe_transformer
from wecolora.blocks import check_layers, copy_weights, select_blocks
from wecolora.config import DistillConfig
from wecolora.devices import resolve_device, resolve_precision
from wecolora.errors import OutOfRange
from wecolora.export import check_buildable
from wecolora.images import ImageSet, load_images
from wecolora.lora import add_lora
from wecolora.progress import Progress, ProgressCallback
from wecolora.schedule import Schedule
from wecolora.teachers import TeacherSpec, image_size_of, load_teacher
from wecolora.training import Setting


@dataclass(frozen=True)
class Plan:
    """What is known before the first step.

    Attributes:
        teacher: frozen.
        student: with its fresh pairs.
        layout: of the teacher.
        blocks: teacher blocks that the student consists of, counted from 0.
        lora_rank: k of this run.
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
    lora_rank: int
    images: ImageSet
    found: int
    schedule: Schedule
    setting: Setting
    config: DistillConfig


def make_plan(
    teacher: nn.Module | TeacherSpec | str | Path,
    images: Path,
    config: DistillConfig,
    notify: ProgressCallback,
) -> Plan:
    """Check everything that can be checked before training, cheapest first."""
    device = resolve_device(config.device)
    teacher_model = teacher if isinstance(teacher, nn.Module) else load_teacher(_with_size(teacher, config))
    layout = describe_transformer(teacher_model)
    if isinstance(teacher, nn.Module) and config.image_size not in (None, image_size_of(teacher)):
        raise OutOfRange(
            "image_size", config.image_size, f"{image_size_of(teacher)}, the size this model was built for"
        )
    blocks = (
        select_blocks(layout.depth, config.compression_factor, config.policy)
        if config.layers is None
        else check_layers(layout.depth, config.layers)
    )
    student = copy_weights(teacher_model, blocks)
    check_buildable(student)
    lora_rank = config.rank(layout.max_lora_rank)
    add_lora(student, lora_rank, seed=config.seed)
    everything = load_images(
        images,
        image_size_of(teacher_model),
        on_progress=lambda done, found: notify(Progress("loading", done, found)),
    )
    used = everything.subset(config.few_shot_ratio, config.seed)
    schedule = Schedule(
        images=len(used),
        epochs=config.epochs,
        batch_size=config.micro_batch_size(len(used)),
        accumulate=config.accumulate,
        warmup_epochs=config.warmup(),
        peak_learning_rate=config.peak_learning_rate(),
        seed=config.seed,
    )
    setting = Setting(
        device=device,
        precision=resolve_precision(config.precision, device),
        loss_place=config.loss_place,
        weight_decay=config.weight_decay,
        loader_processes=4 if device.type == "cuda" else 0,
    )
    found = len(everything) + len(everything.skipped)
    return Plan(teacher_model, student, layout, blocks, lora_rank, used, found, schedule, setting, config)


def _with_size(teacher: TeacherSpec | str | Path, config: DistillConfig) -> TeacherSpec:
    spec = teacher if isinstance(teacher, TeacherSpec) else TeacherSpec(str(teacher))
    if config.image_size is None:
        return spec
    return dataclasses.replace(spec, image_size=config.image_size)


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
