"""Feature-less distillation through a distillation token (Touvron et al., 2021, "Training data-efficient image
transformers & distillation through attention"): the baseline `deit`.

The student never sees the teacher's features, only what it says of an image: its decision (hard) or its distribution
(soft). There are no labels here, so wherever DeiT's losses ask for one, they get the teacher's decision.

Legend: B batch, N tokens, D embed_dim, K classes.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.architectures import architecture_name
from wecolora.config import PseudoLabels
from wecolora.errors import MethodDoesNotFit
from wecolora.methods.base import Context, Preparation
from wecolora.methods.prototypes import Prototypes, count_clusters, find_prototypes, teacher_features
from wecolora.methods.random_student import build_random
from wecolora.objectives import Objective
from wecolora.pooling import classes_of, pool
from wecolora.schedule import Key
from wecolora.torchvision_compat import timm

# DeiT, Section 4: temperature and weight of the soft loss; the hard loss weighs both heads alike.
TEMPERATURE = 3.0
SOFT_WEIGHT = 0.1

_HEAD_STD = 0.02  # of timm's own classification heads


def check_deit(teacher: nn.Module) -> None:
    """Make sure that timm can build this architecture with one more token.

    Raises:
        MethodDoesNotFit: when it cannot.
    """
    name = _register_argument(teacher)
    try:
        with torch.device("meta"):
            student = build_random(teacher, 0, depth=1, **_one_more(teacher, name))
    except (TypeError, RuntimeError, AssertionError, ValueError) as error:
        raise MethodDoesNotFit(
            "deit", architecture_name(teacher), f"timm cannot build it with a distillation token ({error})"
        ) from error
    if _prefix_tokens(student) != _prefix_tokens(teacher) + 1:
        raise MethodDoesNotFit(
            "deit", architecture_name(teacher), "its architecture has a fixed number of extra tokens"
        )


def prepare_deit(context: Context) -> Preparation:
    """A random student of M blocks with a distillation token, and the teacher's pseudo-labels to learn.

    Raises:
        MethodDoesNotFit: the architecture takes no further token.
        TooFewImagesToCluster: the teacher has no classes and there is one image.
    """
    teacher, config = context.teacher, context.config
    check_deit(teacher)
    prototypes = None if classes_of(teacher) else _prototypes(context)
    classes = classes_of(teacher) or len(cast("Prototypes", prototypes).directions)
    arguments = _one_more(teacher, _register_argument(teacher))
    student = build_random(teacher, config.seed, depth=len(context.blocks), **arguments)
    student.to(context.device).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        width = int(cast("Any", student).num_features)
        class_head = None if classes_of(student) else _head(width, classes)
        objective = DistillationTokenObjective(
            PseudoLabels(config.pseudo_labels), prototypes, class_head, _head(width, classes)
        )
    return Preparation(
        student,
        objective,
        finish=lambda trained: trained,
        delivers="a timm folder; its last register token is the distillation token",
    )


class DistillationTokenObjective(Objective):
    """DeiT's distillation losses with the teacher's decision in the label's place.

    Hard (DeiT, Eq. 3): ½ CE(class head, y) + ½ CE(distillation head, y). Soft (Eq. 2): (1 - λ) CE(class head, y) +
    λ τ² KL(teacher's distribution at τ, distillation head's at τ), τ = 3, λ = 0.1. y is the teacher's decision.

    Args:
        labels: hard or soft.
        prototypes: stand for the classes of a teacher that has none.
        class_head: reads the student's pooled features, where the student has no head of its own.
        distillation_head: reads the distillation token. Neither head is delivered.
    """

    def __init__(
        self,
        labels: PseudoLabels,
        prototypes: Prototypes | None,
        class_head: nn.Linear | None,
        distillation_head: nn.Linear,
    ) -> None:
        super().__init__()
        self.labels = labels
        self.prototypes = prototypes
        self.class_head = class_head
        self.distillation_head = distillation_head

    def targets(self, images: Tensor, keys: Sequence[Key]) -> tuple[Tensor, ...]:
        """Hard: the teacher's decisions, [B] whole numbers. Soft: its logits, [B, K]."""
        assert self._networks is not None
        _, teacher = self._networks
        logits: Tensor = (
            teacher(images) if self.prototypes is None else self.prototypes(pool(teacher, images))
        )
        return (logits.argmax(dim=-1) if self.labels is PseudoLabels.HARD else logits.float(),)

    def loss(self, images: Tensor, keys: Sequence[Key], targets: tuple[Tensor, ...]) -> Tensor:
        """Weighted mean of the two heads' losses."""
        by_class, by_distillation = self._predict(images)
        if self.labels is PseudoLabels.HARD:
            decisions = targets[0].long()
            return 0.5 * (F.cross_entropy(by_class, decisions) + F.cross_entropy(by_distillation, decisions))
        logits = targets[0]
        divergence = F.kl_div(
            F.log_softmax(by_distillation / TEMPERATURE, dim=-1),
            F.log_softmax(logits / TEMPERATURE, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
        decided = F.cross_entropy(by_class, logits.argmax(dim=-1))
        return (1 - SOFT_WEIGHT) * decided + SOFT_WEIGHT * TEMPERATURE**2 * divergence

    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the class head and of the distillation head, [B, K] each."""
        assert self._networks is not None
        student, _ = self._networks
        tokens: Tensor = student.forward_features(images)
        pooled: Tensor = student.forward_head(tokens, pre_logits=True)
        by_class = student.head(pooled) if self.class_head is None else self.class_head(pooled)
        # Some networks norm after pooling instead of before: the token then gets the same norm.
        token = student.fc_norm(tokens[:, student.num_prefix_tokens - 1])
        return by_class.float(), self.distillation_head(token).float()


def _prototypes(context: Context) -> Prototypes:
    """Found on the images, or empty for a resumed run, which loads them."""
    clusters = count_clusters(len(context.images))
    if context.restoring:
        return Prototypes(clusters, int(cast("Any", context.teacher).num_features))
    features = teacher_features(context.teacher, context.images, context.device)
    return find_prototypes(features, clusters, context.config.seed)


def _head(width: int, classes: int) -> nn.Linear:
    head = nn.Linear(width, classes)
    nn.init.trunc_normal_(head.weight, std=_HEAD_STD)
    nn.init.zeros_(head.bias)
    return head


def _register_argument(teacher: nn.Module) -> str:
    """timm's name for the number of learnt tokens beside the class token."""
    # Subclasses lay their tokens out in their own ways.
    if type(teacher) is timm.models.VisionTransformer:
        return "reg_tokens"
    if type(teacher) is timm.models.Eva:
        return "num_reg_tokens"
    raise MethodDoesNotFit(
        "deit",
        architecture_name(teacher),
        f"timm's {type(teacher).__name__} takes no further token that could be the distillation token",
    )


def _one_more(teacher: nn.Module, name: str) -> dict[str, int]:
    return {name: _prefix_tokens(teacher) - int(getattr(teacher, "cls_token", None) is not None) + 1}


def _prefix_tokens(model: nn.Module) -> int:
    return int(cast("Any", model).num_prefix_tokens)
