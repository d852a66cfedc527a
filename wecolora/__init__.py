"""WeCoLoRA: weight copy and low-rank adaptation for few-shot distillation of vision transformers.

The engine alone: PyTorch and timm, no web. See ``wecolora --help`` and `distill`. Names are loaded when they are first
used, so that importing the package, or being told of a bad option, does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wecolora import errors
    from wecolora.architectures import TransformerLayout, describe_transformer
    from wecolora.blocks import copy_weights, select_blocks
    from wecolora.config import BlockPolicy, DistillConfig, LossPlace
    from wecolora.cost import ModelCost, count_gmacs, inspect_model, inspect_models
    from wecolora.distillation import DistillResult, distill
    from wecolora.evaluation.comparison import Difference, Evaluation, evaluate
    from wecolora.evaluation.features import extract_features
    from wecolora.evaluation.labelled import LabelledImages, LabelledSet
    from wecolora.evaluation.options import ProbeProtocol, SetFormat
    from wecolora.evaluation.probe import ProbeResult, knn_score, linear_probe, probe_features
    from wecolora.evaluation.readers import read_labelled
    from wecolora.export import export_adapter, export_student, load_adapter
    from wecolora.lora import add_lora, merge_lora
    from wecolora.losses import feature_l1
    from wecolora.progress import Progress
    from wecolora.teachers import TeacherSpec, load_teacher

__all__ = [
    "BlockPolicy",
    "Difference",
    "DistillConfig",
    "DistillResult",
    "Evaluation",
    "LabelledImages",
    "LabelledSet",
    "LossPlace",
    "ModelCost",
    "ProbeProtocol",
    "ProbeResult",
    "Progress",
    "SetFormat",
    "TeacherSpec",
    "TransformerLayout",
    "add_lora",
    "copy_weights",
    "count_gmacs",
    "describe_transformer",
    "distill",
    "errors",
    "evaluate",
    "export_adapter",
    "export_student",
    "extract_features",
    "feature_l1",
    "inspect_model",
    "inspect_models",
    "knn_score",
    "linear_probe",
    "load_adapter",
    "load_teacher",
    "merge_lora",
    "probe_features",
    "read_labelled",
    "select_blocks",
]

_HOMES = {
    "architectures": ("TransformerLayout", "describe_transformer"),
    "blocks": ("copy_weights", "select_blocks"),
    "config": ("BlockPolicy", "DistillConfig", "LossPlace"),
    "cost": ("ModelCost", "count_gmacs", "inspect_model", "inspect_models"),
    "distillation": ("DistillResult", "distill"),
    "evaluation.comparison": ("Difference", "Evaluation", "evaluate"),
    "evaluation.features": ("extract_features",),
    "evaluation.labelled": ("LabelledImages", "LabelledSet"),
    "evaluation.options": ("ProbeProtocol", "SetFormat"),
    "evaluation.probe": ("ProbeResult", "knn_score", "linear_probe", "probe_features"),
    "evaluation.readers": ("read_labelled",),
    "progress": ("Progress",),
    "export": ("export_adapter", "export_student", "load_adapter"),
    "lora": ("add_lora", "merge_lora"),
    "losses": ("feature_l1",),
    "teachers": ("TeacherSpec", "load_teacher"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("wecolora.errors")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'wecolora' has no attribute {name!r}")
    return getattr(import_module(f"wecolora.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
