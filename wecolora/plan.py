"""What a run is, before its first step: models, images, schedule and setting; and its identity for resuming."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from wecolora.block_choice import measure_blocks
from wecolora.block_search import LEAST_IMAGES, search_blocks
from wecolora.blocks import copy_weights, plan_blocks
from wecolora.config import BlockPolicy, DistillConfig, Initialisation, Method
from wecolora.devices import check_devices, resolve_device, resolve_precision
from wecolora.errors import CheckpointMismatch, MethodDoesNotFit, OutOfRange, UnsupportedArchitecture
from wecolora.export import check_buildable
from wecolora.families import describe_model
from wecolora.images import ImageSet, load_images
from wecolora.layouts import Layout, by_stage
from wecolora.lora import check_rank
from wecolora.methods import check_method, prepare
from wecolora.methods.base import Context, Preparation
from wecolora.progress import Progress, ProgressCallback
from wecolora.schedule import Schedule
from wecolora.teachers import TeacherSpec, image_size_of, load_teacher, preprocessing_of
from wecolora.training import Setting, Trainer
from wecolora.views import AugmentedImages

_NOT_SEARCHED = (
    f"blocks were not searched for, which takes {LEAST_IMAGES} images and the memory for their tokens: kept are those"
    " of policy middle-of-group"
)
# A continued run may differ in these: where and how it is computed.
_FREE = {"device", "devices", "image_size", "micro_batch", "checkpoint_activations", "onnx"}


@dataclass(frozen=True)
class Plan:
    """What is known before the first step.

    Attributes:
        teacher: frozen.
        preparation: the student as it is trained, and what is minimised.
        layout: of the teacher.
        blocks: teacher blocks that the student consists of, counted from 0.
        images: those that are used.
        views: their augmented views.
        found: image files in the folder, broken ones included.
        schedule: of the steps.
        setting: device, precision and so on.
        config: as the user gave it.
        source: what the teacher was loaded from; None for a model that was given.
        folder: of the images.
    """

    teacher: nn.Module
    preparation: Preparation
    layout: Layout
    blocks: tuple[int, ...]
    images: ImageSet
    views: AugmentedImages
    found: int
    schedule: Schedule
    setting: Setting
    config: DistillConfig
    source: TeacherSpec | None
    folder: Path


def make_plan(
    teacher: nn.Module | TeacherSpec | str | Path,
    images: Path,
    config: DistillConfig,
    notify: ProgressCallback,
    kept: tuple[int, ...] | None = None,
) -> Plan:
    """Check everything that can be checked before training, cheapest first; then choose, copy and refit blocks.

    Args:
        teacher: a timm model, or what `load_teacher` takes.
        images: folder of unlabelled images.
        config: the settings.
        notify: told of the images and blocks that are done.
        kept: blocks that the run chose before it was stopped; what was computed from images then is not computed
            again, since the checkpoint holds it.
    """
    device = resolve_device(config.device)
    check_devices(device, config.devices, teacher_can_be_loaded=not isinstance(teacher, nn.Module))
    if isinstance(teacher, nn.Module):
        source, teacher_model = None, teacher
    else:
        source = _with_size(teacher, config)
        teacher_model = load_teacher(source)
    layout = describe_model(teacher_model)
    _check_family(layout, config.method)
    if isinstance(teacher, nn.Module) and config.image_size not in (None, image_size_of(teacher)):
        raise OutOfRange(
            "image_size", config.image_size, f"{image_size_of(teacher)}, the size this model was built for"
        )
    if kept is not None and kept[-1] >= layout.depth:
        raise CheckpointMismatch([f"its blocks were {list(kept)} and the teacher now has {layout.depth}"])
    precision = resolve_precision(config.precision, device, layout.embed_dim)
    blocks = kept or plan_blocks(layout, config)
    check_buildable(copy_weights(teacher_model, blocks))
    check_method(config.method, teacher_model)
    lora_rank = config.rank(layout.max_lora_rank)
    check_rank(layout, lora_rank)
    everything = load_images(
        images,
        image_size_of(teacher_model),
        on_progress=lambda done, found: notify(Progress("loading", done, found)),
        smallest_crop=config.smallest_crop,
    )
    used = everything.subset(config.few_shot_ratio, config.seed)
    views = AugmentedImages(used, preprocessing_of(teacher_model), config.seed, config.smallest_crop)
    teacher_model.to(device).eval().requires_grad_(False)

    def tell(done: int, total: int) -> None:
        notify(Progress("preparing", done, total))

    notes: tuple[str, ...] = ()
    if kept is None and config.layers is None and config.policy is BlockPolicy.MEASURED:
        measured = _measured(teacher_model, layout, blocks, views, config, precision, tell)
        if measured is None:
            notes = (_NOT_SEARCHED,)
        blocks = measured or blocks
    preparation = prepare(
        Context(
            teacher_model,
            layout,
            blocks,
            config,
            lora_rank,
            views,
            device,
            precision,
            restoring=kept is not None,
            on_progress=tell,
        )
    )
    preparation.notes += notes
    schedule = Schedule(
        images=len(used),
        epochs=0 if config.method is Method.WECO else config.epochs,
        batch_size=config.micro_batch_size(len(used)),
        accumulate=config.accumulate,
        warmup_epochs=config.warmup(),
        peak_learning_rate=config.peak_learning_rate(),
        seed=config.seed,
        views=config.views,
    )
    setting = Setting(
        device=device,
        precision=precision,
        weight_decay=config.weight_decay,
        micro_batch=config.micro_batch,
        checkpoint_activations=config.checkpoint_activations,
    )
    found = len(everything) + len(everything.skipped)
    return Plan(
        teacher_model,
        preparation,
        layout,
        blocks,
        used,
        views,
        found,
        schedule,
        setting,
        config,
        source,
        images,
    )


def make_trainer(plan: Plan) -> Trainer:
    """The trainer of a plan, before its first step."""
    preparation = plan.preparation
    return Trainer(
        preparation.student,
        plan.teacher,
        preparation.objective,
        plan.views,
        plan.schedule,
        plan.setting,
        preparation.computed,
    )


def _measured(
    teacher: nn.Module,
    layout: Layout,
    start: tuple[int, ...],
    views: AugmentedImages,
    config: DistillConfig,
    precision: str,
    tell: Callable[[int, int], None],
) -> tuple[int, ...] | None:
    """The blocks that do best as the student will start from them, refitted or copied; None: too few images to tell."""
    device = next(teacher.parameters()).device
    if config.init is Initialisation.CLOSED_FORM and layout.token_dimensions == 3:
        # Without a closed form they are copied (`prepare`).
        with suppress(UnsupportedArchitecture):
            return search_blocks(teacher, views, start, device, precision, tell)
    keep = [len(inside) for inside in by_stage(layout.stages, start)]
    return measure_blocks(teacher, views, keep, device, tell)


def _check_family(layout: Layout, method: Method) -> None:
    if method not in layout.methods:
        fitting = ", ".join(known for known in Method if known in layout.methods)
        raise MethodDoesNotFit(
            method, layout.architecture, f"it needs the tokens of a transformer; {fitting} fit this network"
        )


def _with_size(teacher: TeacherSpec | str | Path, config: DistillConfig) -> TeacherSpec:
    spec = teacher if isinstance(teacher, TeacherSpec) else TeacherSpec(str(teacher))
    if config.image_size is None:
        return spec
    return dataclasses.replace(spec, image_size=config.image_size)


def run_identity(plan: Plan) -> dict[str, object]:
    """What a continued run must share with the one that wrote the checkpoint."""
    settings = plan.config.model_dump(mode="json", exclude=_FREE)
    return {
        **settings,
        "teacher": _digest_tensors(plan.teacher),
        "images": _digest_images(plan.images),
        "batch_size": plan.schedule.batch_size,
        "precision": plan.setting.precision,
        "pixels": image_size_of(plan.teacher),
        "kept_blocks": list(plan.blocks),
    }


def chosen_blocks(run: Mapping[str, object]) -> tuple[int, ...] | None:
    """The blocks that a checkpoint's run keeps."""
    blocks = run.get("kept_blocks")
    return tuple(int(block) for block in blocks) if isinstance(blocks, list) else None


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
