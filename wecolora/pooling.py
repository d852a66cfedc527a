"""What a network's own head would see of an image."""

from typing import Any, cast

from torch import Tensor, nn


def pool(model: nn.Module, images: Tensor) -> Tensor:
    """Pooled features, [B, F], of normalised images, [B, 3, S, S]: class token, mean, or attention pooling."""
    timm_model = cast("Any", model)
    return cast("Tensor", timm_model.forward_head(timm_model.forward_features(images), pre_logits=True))


def classes_of(model: nn.Module) -> int:
    """Classes that the model tells apart; 0 for a model without a head, or with one that knows one class only."""
    count = int(getattr(model, "num_classes", 0))
    return count if count > 1 else 0
