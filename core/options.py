"""What a user may ask of a job, with every range in one place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from core.errors import FieldProblem

DEFAULT_LORA_RANK = 128
LEAST_PATCHES = 2


def _split_on_commas(value: object) -> object:
    """A form sends `1,3,5` where JSON sends `[1, 3, 5]`."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Layers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_split_on_commas)]


class TrainingOptions(BaseModel):
    """Everything but the rank: the teacher decides the largest one.

    What is unset or null takes the recipe's value, and where the recipe has none, the engine's default
    (`core.recipes`). A test holds names, ranges and choices against the engine's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["wecolora", "weco-kd", "kd", "weco-lora-qv", "weco", "deit", "minivit", "dmae"] = Field(
        "wecolora", description="How the student is made; all but wecolora are baselines."
    )
    recipe: Literal["paper", "best", "instant"] | None = Field(
        None, description="Values for what is unset. Unset: best for wecolora, paper for the baselines."
    )
    r: int = Field(
        2, ge=1, le=1000, description="Compression factor: one block of r is kept. 1 to the depth."
    )
    policy: Literal["last-of-group", "first-of-group", "middle-of-group", "both-ends", "measured"] | None = (
        Field(
            None,
            description="Which blocks are kept: one of each group of r, evenly from end to end, or those that do "
            "best on the images.",
        )
    )
    layers: Layers | None = Field(
        None,
        min_length=1,
        description="Explicit list of blocks to keep, counted from 0; replaces r and policy.",
    )
    init: Literal["copy", "closed-form"] | None = Field(
        None, description="Blocks as copied, or refitted to stand for the skipped ones, too."
    )
    refit_views: int | None = Field(
        None, ge=1, le=1000, description="Augmented views of each image that the refit sees."
    )
    refit_ridge: float | None = Field(
        None, gt=0, le=1e6, description="Weight of the copied matrices in the refit; unset: chosen on images."
    )
    adapter: Literal["lora", "rslora", "dora"] | None = Field(None, description="Kind of adapter.")
    lora_alpha: float | None = Field(None, gt=0, le=1e6, description="Scale α of the adapters; unset: none.")
    lora_init: Literal["kaiming", "gaussian", "orthogonal", "eva"] | None = Field(
        None, description="What A of the adapters starts from."
    )
    epochs: int | None = Field(None, ge=0, le=1000, description="Passes over the images; 0 trains nothing.")
    lr: float | None = Field(None, gt=0, le=1, description="Peak learning rate; unset: by recipe and r.")
    warmup_epochs: float | None = Field(None, ge=0, le=1000, description="Unset: a fifth of the epochs.")
    weight_decay: float | None = Field(None, ge=0, le=1, description="Weight decay of matrices.")
    batch_size: int | None = Field(None, ge=1, le=4096, description="Unset: by the number of images.")
    accumulate: int | None = Field(None, ge=1, le=1024, description="Batches that make one step.")
    views: int | None = Field(
        None, ge=1, le=1000, description="Different views of each image; unset: a new one each epoch."
    )
    smallest_crop: float | None = Field(
        None, gt=0, le=1, description="Smallest share of an image that a view shows."
    )
    loss: Literal["l1", "smooth-l1", "cosine"] | None = Field(None, description="Distance of tokens.")
    loss_place: Literal["before-norm", "after-norm"] | None = Field(
        None, description="Compare tokens before or after the last norm."
    )
    normalise_targets: bool | None = Field(None, description="Compare tokens after a norm without weights.")
    cls_weight: float | None = Field(
        None, ge=0, le=1e6, description="Weight of the class token; unset: it counts like any token."
    )
    block_weight: float | None = Field(
        None, ge=0, le=1e6, description="Weight of the losses after the other blocks."
    )
    pseudo_labels: Literal["hard", "soft"] | None = Field(
        None, description="Method deit: the teacher's decision, or its distribution."
    )
    mask_ratio: float | None = Field(
        None, gt=0, lt=1, description="Method dmae: share of the patches that is hidden."
    )
    image_size: int | None = Field(None, ge=1, le=4096, description="Pixels; a multiple of the patch size.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="The same seed gives the same student.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train.")
    devices: int = Field(1, ge=1, le=64, description="GPUs of a worker that share the work.")
    precision: Literal["auto", "fp32", "bf16"] | None = Field(
        None, description="Arithmetic of the training; auto: bf16 where the machine is made for it."
    )
    micro_batch: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Images of a batch that are computed at once; unset: all, halved as often as memory asks for.",
    )
    checkpoint_activations: bool = Field(
        False, description="Compute the student's blocks twice to keep less in memory."
    )
    onnx: bool = Field(False, description="Deliver the student as ONNX, too.")
    few_shot_ratio: float = Field(
        1.0, gt=0, le=1, description="Share of the images that is used, of each class where there are such."
    )


class JobOptions(TrainingOptions):
    """The options of a job. Those of a stored job are complete: see `core.recipes.complete_options`."""

    k: int = Field(DEFAULT_LORA_RANK, ge=1, le=65536, description="Rank of the adapters.")

    def to_engine(self) -> dict[str, Any]:
        """Arguments of the engine's `DistillConfig`."""
        renamed = {"r": "compression_factor", "k": "lora_rank", "lr": "learning_rate"}
        return {renamed.get(name, name): value for name, value in self.model_dump().items()}


@dataclass(frozen=True)
class TeacherLimits:
    """What the teacher's architecture allows; r of a network of several stages reaches to its longest."""

    depth: int
    max_compression_factor: int
    max_lora_rank: int
    patch_size: int
    image_size: int
    dynamic_image_size: bool
    fixed_blocks: tuple[int, ...] = ()
    """Blocks that no student can do without: the first of each stage, where there are several."""
    methods: tuple[str, ...] | None = None
    """Those that fit; None: all."""


def allowed_by_teacher(limits: TeacherLimits) -> dict[str, str]:
    """The ranges of the options that depend on the teacher, in words."""
    patch, dynamic = limits.patch_size, limits.dynamic_image_size
    sizes = f"multiples of {patch} from {LEAST_PATCHES * patch}"
    fixed = f", with {', '.join(map(str, limits.fixed_blocks))} among them" if limits.fixed_blocks else ""
    return {
        "r": f"1 to {limits.max_compression_factor}",
        "k": f"1 to {limits.max_lora_rank}",
        "layers": f"0 to {limits.depth - 1}, each once, in ascending order{fixed}",
        "image_size": sizes if dynamic else str(limits.image_size),
    }


def check_against_teacher(options: JobOptions, limits: TeacherLimits) -> list[FieldProblem]:
    """Every option that is in its own range but not in the teacher's."""
    return [
        *_check_method(options, limits),
        *_check_depth(options, limits),
        *_check_rank(options, limits),
        *_check_image_size(options, limits),
    ]


def check_devices(options: JobOptions, most: int) -> list[FieldProblem]:
    """Whether a worker of this service has as many devices as the job asks for."""
    if options.devices <= most:
        return []
    message = f"the largest worker of this service has {most} (WECOLORA_DEVICES)"
    return [FieldProblem("devices", message, f"1 to {most}", options.devices)]


def _check_method(options: JobOptions, limits: TeacherLimits) -> Iterator[FieldProblem]:
    if limits.methods is not None and options.method not in limits.methods:
        message = f"{options.method} needs the tokens of a transformer, and this teacher is none"
        yield FieldProblem("method", message, ", ".join(limits.methods), options.method)


def _check_depth(options: JobOptions, limits: TeacherLimits) -> Iterator[FieldProblem]:
    if options.r > limits.max_compression_factor:
        message = f"the teacher has {limits.max_compression_factor} blocks"
        if limits.max_compression_factor < limits.depth:
            message += " in its longest stage"
        yield FieldProblem("r", message, allowed_by_teacher(limits)["r"], options.r)
    layers = list(options.layers or ())
    if layers and (layers != sorted(set(layers)) or layers[-1] >= limits.depth):
        message = f"blocks of a teacher with {limits.depth} blocks are counted from 0"
        yield FieldProblem("layers", message, allowed_by_teacher(limits)["layers"], layers)
    elif layers and not set(limits.fixed_blocks) <= set(layers):
        message = "the first block of each stage changes the resolution and cannot be left out"
        yield FieldProblem("layers", message, allowed_by_teacher(limits)["layers"], layers)


def _check_rank(options: JobOptions, limits: TeacherLimits) -> Iterator[FieldProblem]:
    if options.k > limits.max_lora_rank:
        message = "a rank above the smaller side of a weight matrix adds nothing"
        yield FieldProblem("k", message, allowed_by_teacher(limits)["k"], options.k)


def _check_image_size(options: JobOptions, limits: TeacherLimits) -> Iterator[FieldProblem]:
    size, patch = options.image_size, limits.patch_size
    if size is None:
        return
    if not limits.dynamic_image_size and size != limits.image_size:
        message = "this teacher takes images of one size only"
        yield FieldProblem("image_size", message, allowed_by_teacher(limits)["image_size"], size)
    elif size % patch or size < LEAST_PATCHES * patch:
        message = f"the teacher's patches are {patch} pixels wide"
        yield FieldProblem("image_size", message, allowed_by_teacher(limits)["image_size"], size)


def allowed_values(field: FieldInfo) -> str | None:
    """A field's range in words (`1 to 1000`), as its declaration has it."""
    choices = _choices(field.annotation)
    if choices:
        return ", ".join(choices)
    low = high = None
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=value):
                low = f"{value}"
            case annotated_types.Gt(gt=value):
                low = f"above {value}"
            case annotated_types.Le(le=value):
                high = f"{value}"
            case annotated_types.Lt(lt=value):
                high = f"below {value}"
    if low and high:
        return f"{low} to {high}"
    return low and f"at least {low}"


def _choices(annotation: Any) -> list[str]:
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]
