"""WeCoLoRA: weight copy and low-rank adaptation for few-shot distillation of vision transformers.

The engine alone: PyTorch and timm, no web. See ``wecolora --help`` and `distill`.
"""

from wecolora import torchvision_compat  # noqa: F401, I001  torchvision must be importable before timm is
from wecolora import errors
from wecolora.architectures import TransformerLayout, describe_transformer
from wecolora.blocks import BlockPolicy, copy_weights, select_blocks
from wecolora.config import DistillConfig
from wecolora.cost import ModelCost, count_gmacs, inspect_model, inspect_models
from wecolora.distillation import DistillResult, Progress, distill
from wecolora.export import export_adapter, export_student, load_adapter
from wecolora.lora import add_lora, merge_lora
from wecolora.losses import feature_l1
from wecolora.probe import ProbeResult, linear_probe
from wecolora.teachers import TeacherSpec, load_teacher

__all__ = [
    "BlockPolicy",
    "DistillConfig",
    "DistillResult",
    "ModelCost",
    "ProbeResult",
    "Progress",
    "TeacherSpec",
    "TransformerLayout",
    "add_lora",
    "copy_weights",
    "count_gmacs",
    "describe_transformer",
    "distill",
    "errors",
    "export_adapter",
    "export_student",
    "feature_l1",
    "inspect_model",
    "inspect_models",
    "linear_probe",
    "load_adapter",
    "load_teacher",
    "merge_lora",
    "select_blocks",
]
