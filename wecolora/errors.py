"""Everything that the engine refuses, as one tree.

Each error carries the data it speaks of, a stable ``code`` and, where the user can mend it, the ``field`` to mend.
``str(error)`` is a whole sentence for the user. The engine raises and never prints or exits: the command line turns
these into exit codes (``wecolora/cli``), the service into problem documents.
"""

from collections.abc import Sequence


class WecoloraError(Exception):
    """Root of the tree: something about the user's input or machine that the message explains."""

    code = "wecolora_error"
    field: str | None = None


class OutOfRange(WecoloraError):
    """An option lies outside the range that this teacher or this method allows."""

    code = "out_of_range"

    def __init__(self, field: str, value: object, allowed: str, why: str = "") -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        reason = f" ({why})" if why else ""
        super().__init__(f"{field} is {value!r}: it must be {allowed}{reason}.")


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
            "(ViT, DeiT, BEiT, EVA, DINO, CLIP or SigLIP vision towers)."
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


class NoImages(WecoloraError):
    """The folder holds nothing that can be trained on."""

    code = "no_images"
    field = "images"

    def __init__(self, folder: str, skipped: int = 0) -> None:
        self.folder = folder
        self.skipped = skipped
        found = f"none of its {skipped} image files can be decoded" if skipped else "no image files are there"
        super().__init__(
            f"{folder}: {found}; JPEG, PNG, WebP, TIFF and BMP files are read, in any subfolder."
        )


class LabelsRequired(WecoloraError):
    """A linear probe needs class folders, alike in its training and test part."""

    code = "labels_required"
    field = "probe"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(
            f"{folder} cannot be probed: {reason}. A probe needs one folder a class (CLASS/image.jpg)."
        )


class TokenShapeMismatch(WecoloraError):
    """Teacher and student do not produce the same tokens for the same image."""

    code = "token_shape_mismatch"

    def __init__(self, student: Sequence[int], teacher: Sequence[int]) -> None:
        self.student = tuple(student)
        self.teacher = tuple(teacher)
        super().__init__(
            f"student tokens are {list(student)}, teacher tokens {list(teacher)}: they must agree."
        )


class CheckpointMismatch(WecoloraError):
    """A run to be resumed was started with other settings, so that going on would mix two runs."""

    code = "checkpoint_mismatch"
    field = "resume"

    def __init__(self, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        super().__init__(
            "the checkpoint belongs to a run with other settings: "
            + "; ".join(differences)
            + ". Use the same settings, or another --out folder."
        )


class OutputExists(WecoloraError):
    """The output folder already holds a started run, or a finished one."""

    code = "output_exists"
    field = "out"

    def __init__(self, folder: str, finished: bool) -> None:
        self.folder = folder
        self.finished = finished
        state, way_out = (
            ("finished run", "choose another --out, or remove it first")
            if finished
            else ("run that was stopped", "add --resume to go on with it, or choose another --out")
        )
        super().__init__(f"{folder} already holds a {state}: {way_out}.")


class OutOfMemory(WecoloraError):
    """The device's memory does not hold one micro-batch."""

    code = "out_of_memory"
    field = "batch_size"

    def __init__(self, device: str, batch_size: int) -> None:
        self.device = device
        self.batch_size = batch_size
        super().__init__(
            f"{device} ran out of memory with batches of {batch_size}: halve batch_size and double accumulate, "
            "which gives the same student."
        )


class DeviceUnavailable(WecoloraError):
    """The device that was asked for is not there."""

    code = "device_unavailable"
    field = "device"

    def __init__(self, device: str) -> None:
        self.device = device
        super().__init__(f"device {device!r} is not available here: use 'cpu' or 'auto'.")


class DivergedLoss(WecoloraError):
    """The loss became infinite or not a number."""

    code = "diverged"
    field = "lr"

    def __init__(self, step: int, learning_rate: float) -> None:
        self.step = step
        self.learning_rate = learning_rate
        super().__init__(
            f"the loss is not finite at step {step} (learning rate {learning_rate:.2e}): lower lr, or use fp32."
        )


class ExportFailed(WecoloraError):
    """The written folder does not load back as the student that was trained."""

    code = "export_failed"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"the student written to {folder} does not load back in timm: {reason}.")


class Interrupted(WecoloraError):
    """Training was asked to stop; a checkpoint has been written."""

    code = "interrupted"

    def __init__(self, step: int = 0) -> None:
        self.step = step
        super().__init__(f"stopped after step {step}; the checkpoint is kept.")
