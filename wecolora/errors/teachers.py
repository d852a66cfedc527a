"""Teachers that cannot be had, read or used."""

from collections.abc import Sequence

from wecolora.errors.base import WecoloraError


class UnknownTeacher(WecoloraError):
    """No such timm model, folder or file."""

    code = "unknown_teacher"
    field = "teacher"

    def __init__(self, teacher: str, suggestions: Sequence[str] = ()) -> None:
        self.teacher = teacher
        self.suggestions = tuple(suggestions)
        hint = f" Close names: {', '.join(suggestions)}." if suggestions else ""
        super().__init__(
            f"teacher {teacher!r} is neither a timm model name, nor a timm folder (config.json + "
            f"model.safetensors), nor a .safetensors file.{hint}"
        )


class UnsupportedArchitecture(WecoloraError):
    """The model's blocks cannot be skipped one for one, so the method does not apply."""

    code = "unsupported_architecture"
    field = "teacher"

    def __init__(self, architecture: str, reason: str) -> None:
        self.architecture = architecture
        self.reason = reason
        super().__init__(
            f"{architecture} cannot be a teacher: {reason}. Choose a vision transformer whose blocks are alike "
            "(ViT, DeiT, BEiT, EVA, DINO, CLIP or SigLIP vision towers) or a ResNet (ResNet, Wide ResNet, ResNeXt)."
        )


class InvalidCheckpoint(WecoloraError):
    """A weights file is not readable safetensors, or does not hold the architecture's tensors."""

    code = "invalid_checkpoint"
    field = "teacher"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be used as a checkpoint: {reason}.")


class ArchitectureRequired(WecoloraError):
    """A bare weights file does not say which network it belongs to."""

    code = "architecture_required"
    field = "architecture"

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} holds weights only: name the timm architecture that they belong to "
            "(--architecture vit_base_patch16_224, say)."
        )


class TeacherUnavailable(WecoloraError):
    """The pretrained weights could not be fetched; trying again may help."""

    code = "teacher_unavailable"
    field = "teacher"

    def __init__(self, teacher: str, reason: str) -> None:
        self.teacher = teacher
        self.reason = reason
        super().__init__(
            f"the weights of {teacher} could not be fetched: {reason}. Check the network or HF_ENDPOINT, fetch them "
            "once with 'huggingface-cli download', or give a timm folder or a .safetensors file instead."
        )


class MethodDoesNotFit(WecoloraError):
    """The teacher is a fine teacher, but not for this method."""

    code = "method_does_not_fit"
    field = "method"

    def __init__(self, method: str, architecture: str, reason: str) -> None:
        self.method = method
        self.architecture = architecture
        self.reason = reason
        super().__init__(
            f"{method} does not fit {architecture}: {reason}. Choose another method (wecolora and weco-kd fit every "
            "teacher), or a plain vision transformer as the teacher."
        )
