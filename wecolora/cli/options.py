"""The settings of a distillation as options of a command: one for every field of `DistillConfig`, by panels."""

import inspect
import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from wecolora.choices import Recipe
from wecolora.cli.common import numbers
from wecolora.combinations import check_combinations
from wecolora.config import OPTION_NAMES, DistillConfig, allowed_values, explain
from wecolora.recipes import recipe_values

# Panels and their options in the order of --help. A field that is not named here still gets an option, at the end.
_HELP: Mapping[str, Mapping[str, str]] = {
    "Basics": {
        "recipe": "Values for everything that is not given: paper is the paper's own, best the best we know, instant "
        "needs no training. Unset: best for method wecolora, paper for the others.",
        "compression_factor": "Depth reduction: the student has floor(L / r) of the teacher's L blocks.",
        "lora_rank": "Rank of the adapters; unset: 128, or the most that the teacher admits.",
        "epochs": "Passes over the images; 0 trains nothing.",
        "few_shot_ratio": "Share of the images that is used, of every class folder where there are such.",
        "seed": "Of subset, order, augmentation and initialisation: the same seed gives the same student.",
    },
    "Method": {
        "method": "How the student is made: copied blocks with adapters (wecolora), or one of the baselines.",
        "adapter": "Kind of adapter.",
        "lora_alpha": "Scale of the adapters is alpha / k (rslora: alpha / sqrt(k)); unset: no scale, as the paper.",
        "lora_init": "What A starts from; B starts at zero.",
        "pseudo_labels": "Method deit: learn the teacher's decision, or its distribution.",
        "mask_ratio": "Method dmae: share of the patches that the student does not see.",
    },
    "Student": {
        "policy": "Which blocks are kept: one of every r; evenly from end to end; or those that the images need most.",
        "layers": "Explicit blocks to keep, from 0: 1,3,5. Overrides --r and --policy.",
        "image_size": "Side of the input in pixels; unset: the teacher's.",
    },
    "Closed form": {
        "init": "Copied blocks as they are, or refitted to stand for the skipped ones, too.",
        "refit_views": "Augmented views of every image that the refit sees.",
        "refit_ridge": "Weight of the copied matrices in the refit; unset: chosen on held-out images.",
    },
    "Training": {
        "learning_rate": "Peak learning rate; unset: the recipe's, or 1e-3 for r up to 2 and 1e-4 above.",
        "warmup_epochs": "Linear warm-up, shorter than the training; unset: a fifth of the epochs.",
        "weight_decay": "Of AdamW.",
        "batch_size": "Images in a micro-batch; unset: up to 128, by the number of images.",
        "accumulate": "Micro-batches in an optimiser step.",
        "views": "Different augmented views of every image, shown in turn; unset: a new one at every epoch.",
        "smallest_crop": "Smallest share of an image's area that a view shows.",
    },
    "Loss": {
        "loss": "Distance of student and teacher tokens.",
        "loss_place": "Compare tokens before or after the final norm.",
        "normalise_targets": "Compare tokens after a norm without weights.",
        "cls_weight": "Weight of the class token beside the mean over the others; unset: it counts like any token.",
        "block_weight": "Weight of the other student blocks, each compared with the end of its group.",
    },
    "Machine": {
        "device": "Where to compute.",
        "devices": "GPUs, or processes on the CPU, that share the work.",
        "precision": "auto takes bf16 where the machine is made for it, else fp32.",
        "micro_batch": "Images of a batch that are computed at once; unset: all, halved as often as memory asks for.",
        "checkpoint_activations": "Compute the student's blocks twice to keep less in memory; the student is the same.",
    },
    "Delivery": {
        "onnx": "Write student.onnx, too.",
    },
}  # fmt: skip
_OTHERS = "Others"

Command = Callable[..., None]


def takes_settings(command: Command) -> Command:
    """Give a command an option for every field of `DistillConfig`, in place of its ``**settings``.

    The settings arrive by the names that users know (``r`` for ``compression_factor``); None where nothing was
    given. See `make_config`.
    """
    own = [
        each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD
    ]
    signature = inspect.Signature([*own, *(_parameter(field) for field in _fields())])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return command


def make_config(settings: Mapping[str, Any]) -> DistillConfig:
    """Settings as the options of `takes_settings` bring them.

    Raises:
        OutOfRange: an option lies outside its range, or does not fit another one.
    """
    fields = {_name(field): field for field in DistillConfig.model_fields}
    given = {fields[name]: value for name, value in settings.items() if value is not None}
    if "layers" in given:
        given["layers"] = numbers("layers", given["layers"], int)
    try:
        config = DistillConfig.model_validate(given)
    except ValidationError as error:
        raise explain(error) from error
    check_combinations(config)
    return config


def _fields() -> list[str]:
    listed = [field for panel in _HELP.values() for field in panel if field in DistillConfig.model_fields]
    return listed + [field for field in DistillConfig.model_fields if field not in listed]


def _name(field: str) -> str:
    return OPTION_NAMES.get(field, field)


def _parameter(field: str) -> inspect.Parameter:
    info = DistillConfig.model_fields[field]
    kind, choices = _kind(info.annotation)
    flag = f"--{_name(field).replace('_', '-')}"
    panel, text = next(
        ((panel, texts[field]) for panel, texts in _HELP.items() if field in texts), (_OTHERS, "")
    )
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
        help=" ".join(part for part in (text, _limits(field, kind, choices), _default(field, info)) if part),
        rich_help_panel=panel,
        show_default=False,
    )
    return inspect.Parameter(
        _name(field),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Union[kind, None], option],  # noqa: UP007 - the type is known only here
    )


def _kind(annotation: Any) -> tuple[type, list[str]]:
    """The option's type, and what it chooses between; a list of numbers comes as text with commas."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return str, [str(choice) for choice in get_args(annotation)]
    if get_origin(annotation) in (Union, types.UnionType):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return str, [str(choice) for choice in annotation]
    return (annotation, []) if annotation in (int, float, bool) else (str, [])


def _limits(field: str, kind: type, choices: list[str]) -> str:
    """What the option may be: ``(1 to 1000)``."""
    if choices:
        return f"({', '.join(choices)})"
    if kind not in (int, float):
        return ""
    words = allowed_values(field).removeprefix("at least ").replace(" and at most", " to")
    return f"({words.replace('more than', 'above')})"


def _default(field: str, info: FieldInfo) -> str:
    """The default, and what the recipes have instead: ``Default: 10; instant: 0``."""
    words = [] if info.default is None else [f"{info.default}"]
    for recipe in Recipe:
        value = recipe_values(recipe).get(field, info.default)
        if value != info.default:
            words.append(f"{recipe}: {value}")
    return f"Default: {'; '.join(words)}." if words else ""
