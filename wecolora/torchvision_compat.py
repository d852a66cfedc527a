"""Import torchvision beside a CPU-only torch.

torchvision's published wheels are CUDA builds. Beside a CPU build of torch their compiled operators cannot load,
and ``import torchvision`` stops with ``operator torchvision::nms does not exist``, because torchvision registers
shape functions for operators that its library never defined. timm needs torchvision's Python code only (transforms
and ``create_feature_extractor``), so two operator schemas are declared and the import is tried again.

With a torchvision that matches torch nothing happens here. The engine takes timm and torchvision's transforms from
this module, so that they cannot be imported too early. ``torchvision.ops.nms`` and ``torchvision.io`` stay unusable
on such machines.
"""

import sys

import torch

_MISSING_OPERATOR = "torchvision::"
_SCHEMAS = ("nms", "qnms")
# A Library forgets its definitions when it is collected, so it lives as long as the process.
_fragment: torch.library.Library | None = None


def import_torchvision() -> bool:
    """Import torchvision, declaring the operators that a mismatched build lacks.

    Returns:
        True when the operators had to be declared, False when torchvision imported by itself.

    Raises:
        RuntimeError: when torchvision fails to import for another reason.
    """
    global _fragment
    if _fragment is not None:
        return True
    try:
        import torchvision
    except RuntimeError as error:
        if _MISSING_OPERATOR not in str(error):
            raise
    else:
        return False
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _fragment = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in _SCHEMAS:
        _fragment.define(  # type: ignore[no-untyped-call]
            f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    import torchvision  # noqa: F401

    return True


DECLARED_OPERATORS = import_torchvision()

import timm  # noqa: E402
from torchvision.transforms import InterpolationMode, v2  # noqa: E402

__all__ = ["DECLARED_OPERATORS", "InterpolationMode", "import_torchvision", "timm", "v2"]
