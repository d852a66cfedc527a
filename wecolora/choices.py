"""The names that a user chooses between.

Their defaults are in `wecolora.config` and `wecolora.recipes`.
"""

from enum import StrEnum


class Method(StrEnum):
    """How a student is made (paper, Tables 1, 2 and 5)."""

    WECOLORA = "wecolora"
    WECO_KD = "weco-kd"
    KD = "kd"
    WECO_LORA_QV = "weco-lora-qv"
    WECO = "weco"
    DEIT = "deit"
    MINIVIT = "minivit"
    DMAE = "dmae"


METHODS_OF_STAGES = frozenset({Method.WECOLORA, Method.WECO_KD, Method.WECO, Method.KD})
"""Those that fit a network of several stages, a ResNet: they need neither attention nor tokens of their own."""


class Recipe(StrEnum):
    """A named set of values for the options that are not given."""

    PAPER = "paper"
    BEST = "best"
    INSTANT = "instant"


class BlockPolicy(StrEnum):
    """Which blocks are kept.

    One of every group of r blocks; or as many, evenly spread from the first block to the last; or those that do best on
    the images given.
    """

    LAST_OF_GROUP = "last-of-group"
    FIRST_OF_GROUP = "first-of-group"
    MIDDLE_OF_GROUP = "middle-of-group"
    BOTH_ENDS = "both-ends"
    MEASURED = "measured"


class Initialisation(StrEnum):
    """What the student's blocks start from: the copies as they are, or refitted to stand for their whole group."""

    COPY = "copy"
    CLOSED_FORM = "closed-form"


class Adapter(StrEnum):
    """Kind of low-rank adapter."""

    LORA = "lora"
    RSLORA = "rslora"
    DORA = "dora"


class AdaptedMatrices(StrEnum):
    """Which matrices of a block get pairs."""

    ALL = "all"
    QUERY_VALUE = "qv"


class LoraInit(StrEnum):
    """What A starts from; B always starts at zero."""

    KAIMING = "kaiming"
    GAUSSIAN = "gaussian"
    ORTHOGONAL = "orthogonal"
    EVA = "eva"


class TokenLoss(StrEnum):
    """How the distance of two token embeddings is measured."""

    L1 = "l1"
    SMOOTH_L1 = "smooth-l1"
    COSINE = "cosine"


class LossPlace(StrEnum):
    """Where teacher and student tokens are compared.

    The paper compares "the embedding returned by" both networks. Its authors' code takes the tokens before the final
    norm for LoRA students and after it for the baseline; here one place holds for every method and can be set.
    """

    BEFORE_NORM = "before-norm"
    AFTER_NORM = "after-norm"


class PseudoLabels(StrEnum):
    """What ``deit`` learns from: the teacher's decision, or its distribution."""

    HARD = "hard"
    SOFT = "soft"
