"""The settings of one distillation, checked when built. Needs no torch, so that a bad option is refused at once."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from wecolora.choices import (
    AdaptedMatrices,
    Adapter,
    BlockPolicy,
    Initialisation,
    LoraInit,
    LossPlace,
    Method,
    PseudoLabels,
    Recipe,
    TokenLoss,
)
from wecolora.errors import OutOfRange
from wecolora.recipes import default_recipe, recipe_values

__all__ = [
    "AdaptedMatrices",
    "Adapter",
    "BlockPolicy",
    "DistillConfig",
    "Initialisation",
    "LoraInit",
    "LossPlace",
    "Method",
    "PseudoLabels",
    "Recipe",
    "TokenLoss",
    "allowed_values",
    "explain",
    "load_line",
]

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]

# Names that users know from the paper, where they differ from the fields' own.
OPTION_NAMES = {"compression_factor": "r", "lora_rank": "k", "learning_rate": "lr"}

_DEFAULT_RANK = 128  # the smallest of the paper's three

# Few images still deserve enough optimiser steps: an epoch has at least this many while batches stay reasonable.
_STEPS_PER_EPOCH = 20
_LARGEST_BATCH = 128
_SMALLEST_BATCH = 16


class DistillConfig(BaseModel):
    """What to distil and how (paper, Section 4.2). Frozen; an unknown or out-of-range field raises ValidationError.

    Options that are not given, or are None, take the recipe's value, and where it has none, the default here.

    Attributes:
        method: how the student is made.
        recipe: ``paper``, ``best`` or ``instant``; None takes ``best`` for `wecolora` and ``paper`` for the baselines.
        compression_factor: depth reduction r, 1 to L; the student has floor(L / r) blocks.
        lora_rank: rank k of the pairs, 1 to the smallest side of the adapted matrices; None takes 128, or that side
            where it is smaller.
        policy: which block of every r is kept.
        layers: explicit list of kept blocks, counted from 0; overrides ``compression_factor`` and ``policy``.
        init: the student's blocks as copied, or refitted in closed form to stand for their group.
        refit_views: augmented views of every image that the closed form sees.
        refit_ridge: weight of the copied matrices in the closed form, relative to the mean squared activation; None
            chooses it for every block on held-out images.
        adapter: kind of pairs.
        lora_alpha: α of the pairs' scale; None has no scale, as the paper (`lora_scale`).
        lora_init: what A starts from.
        epochs: passes over the images (paper: 10); 0 trains nothing.
        learning_rate: peak learning rate, not scaled by the batch; None takes the paper's 1e-3 for r up to 2, else
            1e-4.
        warmup_epochs: linear warm-up before the cosine decay to 0; None takes a fifth of the epochs (the authors' 2
            of 10).
        weight_decay: of AdamW, on matrices; vectors have none.
        batch_size: images in a micro-batch; None takes 128, or less when there are few images, so that an epoch has
            at least 20 optimiser steps while a batch has at least 16 images.
        accumulate: micro-batches in one optimiser step (paper: 8, with batches of 128).
        micro_batch: images of a batch that go through the networks at once; the student is the same, up to rounding.
            None begins with the whole batch. Either is halved as often as the device's memory does not suffice.
        checkpoint_activations: compute the student's blocks again in the backward pass instead of keeping what they
            computed.
        views: different augmented views of every image, shown in turn, so that what the teacher says of them is
            computed once; None draws a new view at every epoch.
        smallest_crop: smallest share of an image's area that a view shows.
        loss: distance of two token embeddings.
        loss_place: tokens compared before or after the final norm.
        normalise_targets: compare tokens after a norm without weights of their own.
        cls_weight: of the mean over class tokens, beside the mean over the others; None counts all tokens alike.
        block_weight: of the mean over the other student blocks, each compared with the end of its group.
        onnx: deliver the student as ``student.onnx``, too (`export_onnx`).
        image_size: side of the input in pixels; None takes the teacher's.
        seed: of the subset, the order, the augmentation and the pairs' initialisation.
        device: ``auto`` takes CUDA when it is there.
        devices: GPUs of this machine, or processes on its processor, that share every micro-batch; the student is the
            same, up to rounding.
        precision: ``auto`` takes bf16 autocast where the device computes it natively and tokens are at least 256 wide,
            else fp32.
        few_shot_ratio: share α of the images that is used, in (0, 1] (paper: 0.01 to 0.1), of every class folder
            where the images lie in such.
        pseudo_labels: ``deit``: learn the teacher's decision or its distribution.
        mask_ratio: ``dmae``: share of the patches that the student does not see.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = Method.WECOLORA
    recipe: Recipe | None = None
    compression_factor: Annotated[int, Field(ge=1, le=1000)] = 2
    lora_rank: Annotated[int, Field(ge=1, le=65536)] | None = None
    policy: BlockPolicy = BlockPolicy.LAST_OF_GROUP
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    init: Initialisation = Initialisation.COPY
    refit_views: Annotated[int, Field(ge=1, le=1000)] = 1
    refit_ridge: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    adapter: Adapter = Adapter.LORA
    lora_alpha: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    lora_init: LoraInit = LoraInit.KAIMING
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 10
    learning_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    warmup_epochs: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] | None = None
    weight_decay: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.05
    batch_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    accumulate: Annotated[int, Field(ge=1, le=4096)] = 1
    micro_batch: Annotated[int, Field(ge=1, le=65536)] | None = None
    checkpoint_activations: bool = False
    onnx: bool = False
    views: Annotated[int, Field(ge=1, le=10_000)] | None = None
    smallest_crop: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.2
    loss: TokenLoss = TokenLoss.L1
    loss_place: LossPlace = LossPlace.BEFORE_NORM
    normalise_targets: bool = False
    cls_weight: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    block_weight: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    device: Device = "auto"
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    precision: Precision = "auto"
    few_shot_ratio: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    pseudo_labels: PseudoLabels = PseudoLabels.HARD
    mask_ratio: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.75

    @model_validator(mode="before")
    @classmethod
    def _fill_from_the_recipe(cls, given: Any) -> Any:
        """Add the recipe's values for what is not given; faulty names are left to the fields' own checks."""
        if not isinstance(given, dict):
            return given
        chosen = {name: value for name, value in given.items() if value is not None}
        try:
            method = Method(chosen.get("method", Method.WECOLORA))
            recipe = Recipe(chosen.get("recipe", default_recipe(method)))
        except ValueError:
            return chosen
        return {**recipe_values(recipe), "recipe": recipe, **chosen}

    @model_validator(mode="after")
    def _warm_up_ends_before_the_last_epoch(self) -> Self:
        if self.warmup_epochs is not None and self.warmup_epochs >= max(self.epochs, 1):
            raise ValueError(f"warmup_epochs must be less than epochs ({self.epochs})")
        return self

    def rank(self, largest: int) -> int:
        """LoRA rank on a teacher that admits ranks up to ``largest``."""
        return min(_DEFAULT_RANK, largest) if self.lora_rank is None else self.lora_rank

    def differences_from_recipe(self) -> dict[str, object]:
        """What the user set otherwise than the recipe has it, by field."""
        wanted = {} if self.recipe is None else recipe_values(self.recipe)
        return {name: getattr(self, name) for name, value in wanted.items() if getattr(self, name) != value}

    def peak_learning_rate(self) -> float:
        """Learning rate after the warm-up (paper, Section 4.2)."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-3 if self.compression_factor <= 2 else 1e-4

    def warmup(self) -> float:
        """Epochs of warm-up."""
        return self.epochs / 5 if self.warmup_epochs is None else self.warmup_epochs

    def micro_batch_size(self, images: int) -> int:
        """Images in a micro-batch, never more than there are."""
        if self.batch_size is not None:
            return min(self.batch_size, images)
        wanted = images // (_STEPS_PER_EPOCH * self.accumulate)
        return min(max(_SMALLEST_BATCH, min(_LARGEST_BATCH, wanted)), images)


def load_line(folder: str) -> str:
    """The line of Python that loads a delivered folder."""
    return f'timm.create_model("local-dir:{folder}", pretrained=True)'


def explain(error: ValidationError) -> OutOfRange:
    """The first fault of a rejected configuration, with the range that the field allows."""
    fault = error.errors()[0]
    location = [str(part) for part in fault["loc"]]
    field = location[0] if location else "warmup_epochs"
    name = OPTION_NAMES.get(field, field)
    if not location:
        return OutOfRange(
            name, fault["input"].get(field), str(fault["ctx"]["error"]).split("must be ", 1)[-1]
        )
    return OutOfRange(name, fault["input"], allowed_values(field))


def allowed_values(field: str) -> str:
    """A field's range in words, read off the model itself."""
    if field not in DistillConfig.model_fields:
        return f"one of the fields {', '.join(DistillConfig.model_fields)}"
    info = DistillConfig.model_fields[field]
    limits = [
        item for argument in get_args(info.annotation) for item in getattr(argument, "__metadata__", ())
    ]
    words = []
    for limit in [*info.metadata, *_flatten(limits)]:
        match limit:
            case annotated_types.Ge(ge=bound):
                words.append(f"at least {bound}")
            case annotated_types.Gt(gt=bound):
                words.append(f"more than {bound}")
            case annotated_types.Le(le=bound):
                words.append(f"at most {bound}")
            case annotated_types.Lt(lt=bound):
                words.append(f"less than {bound}")
            case _:
                continue
    return " and ".join(words) if words else _choices(info.annotation)


def _flatten(items: list[object]) -> list[object]:
    return [inner for item in items for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _choices(annotation: object) -> str:
    """The values of an enum or a literal, or of either with None."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(annotation)
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if any(get_origin(part) is tuple for part in parts):
        return "block numbers, counted from 0"
    if len(parts) == 1 and isinstance(parts[0], type):
        return _choices(parts[0])
    return " or ".join(str(part) for part in parts)
