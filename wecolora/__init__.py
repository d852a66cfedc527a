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
    from wecolora.choices import (
        Adapter,
        BlockPolicy,
        Initialisation,
        LoraInit,
        LossPlace,
        Method,
        Recipe,
        TokenLoss,
    )
    from wecolora.closed_form import BlockFit, refit_blocks
    from wecolora.config import DistillConfig
    from wecolora.cost import ModelCost, count_gmacs, inspect_model, inspect_models
    from wecolora.directions import input_directions
    from wecolora.distillation import DistillResult, distill
    from wecolora.evaluation.comparison import Difference, Evaluation, evaluate
    from wecolora.evaluation.features import extract_features
    from wecolora.evaluation.labelled import LabelledImages, LabelledSet
    from wecolora.evaluation.options import ProbeProtocol, SetFormat
    from wecolora.evaluation.probe import ProbeResult, knn_score, linear_probe, probe_features
    from wecolora.evaluation.readers import read_labelled
    from wecolora.export import export_adapter, export_student, load_adapter
    from wecolora.families import describe_model
    from wecolora.lora import Pairs, add_lora, merge_lora
    from wecolora.losses import feature_l1
    from wecolora.onnx_export import export_onnx
    from wecolora.pictures.job import PageInputs, WrittenPage, write_report_page
    from wecolora.pictures.ranks import write_rank_picture
    from wecolora.progress import Progress
    from wecolora.residual_refit import refit_residual_blocks
    from wecolora.resnets import ResNetLayout
    from wecolora.students import load_student
    from wecolora.sweep import SweepResult, SweepRow, run_sweep
    from wecolora.teachers import TeacherSpec, load_teacher
    from wecolora.throughput import BatchCost

__all__ = [
    "Adapter",
    "BatchCost",
    "BlockFit",
    "BlockPolicy",
    "Difference",
    "DistillConfig",
    "DistillResult",
    "Evaluation",
    "Initialisation",
    "LabelledImages",
    "LabelledSet",
    "LoraInit",
    "LossPlace",
    "Method",
    "ModelCost",
    "PageInputs",
    "Pairs",
    "ProbeProtocol",
    "ProbeResult",
    "Progress",
    "Recipe",
    "ResNetLayout",
    "SetFormat",
    "SweepResult",
    "SweepRow",
    "TeacherSpec",
    "TokenLoss",
    "TransformerLayout",
    "WrittenPage",
    "add_lora",
    "copy_weights",
    "count_gmacs",
    "describe_model",
    "describe_transformer",
    "distill",
    "errors",
    "evaluate",
    "export_adapter",
    "export_onnx",
    "export_student",
    "extract_features",
    "feature_l1",
    "input_directions",
    "inspect_model",
    "inspect_models",
    "knn_score",
    "linear_probe",
    "load_adapter",
    "load_student",
    "load_teacher",
    "merge_lora",
    "probe_features",
    "read_labelled",
    "refit_blocks",
    "refit_residual_blocks",
    "run_sweep",
    "select_blocks",
    "write_rank_picture",
    "write_report_page",
]

_HOMES = {
    "architectures": ("TransformerLayout", "describe_transformer"),
    "blocks": ("copy_weights", "select_blocks"),
    "choices": (
        "Adapter",
        "BlockPolicy",
        "Initialisation",
        "LoraInit",
        "LossPlace",
        "Method",
        "Recipe",
        "TokenLoss",
    ),
    "closed_form": ("BlockFit", "refit_blocks"),
    "config": ("DistillConfig",),
    "directions": ("input_directions",),
    "families": ("describe_model",),
    "cost": ("ModelCost", "count_gmacs", "inspect_model", "inspect_models"),
    "distillation": ("DistillResult", "distill"),
    "evaluation.comparison": ("Difference", "Evaluation", "evaluate"),
    "evaluation.features": ("extract_features",),
    "evaluation.labelled": ("LabelledImages", "LabelledSet"),
    "evaluation.options": ("ProbeProtocol", "SetFormat"),
    "evaluation.probe": ("ProbeResult", "knn_score", "linear_probe", "probe_features"),
    "evaluation.readers": ("read_labelled",),
    "pictures.job": ("PageInputs", "WrittenPage", "write_report_page"),
    "pictures.ranks": ("write_rank_picture",),
    "progress": ("Progress",),
    "residual_refit": ("refit_residual_blocks",),
    "resnets": ("ResNetLayout",),
    "students": ("load_student",),
    "sweep": ("SweepResult", "SweepRow", "run_sweep"),
    "export": ("export_adapter", "export_student", "load_adapter"),
    "onnx_export": ("export_onnx",),
    "lora": ("Pairs", "add_lora", "merge_lora"),
    "losses": ("feature_l1",),
    "teachers": ("TeacherSpec", "load_teacher"),
    "throughput": ("BatchCost",),
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
