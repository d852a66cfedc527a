"""Everything that the engine refuses, as one tree.

Each error carries the data it speaks of, a stable ``code`` and, where the user can mend it, the ``field`` to mend.
``str(error)`` is a whole sentence for the user. The engine raises and never prints or exits: the command line turns
these into exit codes (``wecolora/cli``), the service into problem documents.
"""

from wecolora.errors.base import OutOfRange, WecoloraError
from wecolora.errors.evaluation import (
    AttentionUnavailable,
    ClassTooSmall,
    InvalidLabelledSet,
    LabelKindsDiffer,
    LabelledImagesMissing,
    LabelsRequired,
    NonFiniteFeatures,
    NoRun,
    PathOutsideFolder,
    PreprocessingMismatch,
    TooFewImages,
    UnknownClasses,
    UnreadableImage,
    UnreadableImages,
)
from wecolora.errors.runs import (
    CheckpointMismatch,
    CheckpointNotWritten,
    DeviceUnavailable,
    ExportFailed,
    Interrupted,
    NoImages,
    NonFiniteLoss,
    OnnxFailed,
    OutOfMemory,
    OutputExists,
    RankFailed,
    TokenShapeMismatch,
    TooFewImagesToCluster,
)
from wecolora.errors.teachers import (
    ArchitectureRequired,
    InvalidCheckpoint,
    MethodDoesNotFit,
    TeacherUnavailable,
    UnknownTeacher,
    UnsupportedArchitecture,
)

__all__ = [
    "ArchitectureRequired",
    "AttentionUnavailable",
    "CheckpointMismatch",
    "CheckpointNotWritten",
    "ClassTooSmall",
    "DeviceUnavailable",
    "ExportFailed",
    "Interrupted",
    "InvalidCheckpoint",
    "InvalidLabelledSet",
    "LabelKindsDiffer",
    "LabelledImagesMissing",
    "LabelsRequired",
    "MethodDoesNotFit",
    "NoImages",
    "NoRun",
    "NonFiniteFeatures",
    "NonFiniteLoss",
    "OnnxFailed",
    "OutOfMemory",
    "OutOfRange",
    "OutputExists",
    "RankFailed",
    "PathOutsideFolder",
    "PreprocessingMismatch",
    "TeacherUnavailable",
    "TokenShapeMismatch",
    "TooFewImages",
    "TooFewImagesToCluster",
    "UnknownClasses",
    "UnknownTeacher",
    "UnreadableImage",
    "UnreadableImages",
    "UnsupportedArchitecture",
    "WecoloraError",
]
