"""What stops a distillation, or never lets it start."""

from collections.abc import Sequence

from wecolora.errors.base import WecoloraError


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


class CheckpointNotWritten(WecoloraError):
    """A checkpoint could not be written; the one before is still there, if there was one."""

    code = "checkpoint_not_written"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"The checkpoint {path} could not be written ({reason}). Make room there.")


class OnnxFailed(WecoloraError):
    """The student cannot be written as ONNX; it is delivered all the same."""

    code = "onnx_failed"
    field = "onnx"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"There is no student.onnx: {reason}.")


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
    """The device's memory does not hold a batch, or not even one image of it."""

    code = "out_of_memory"
    field = "batch_size"

    def __init__(self, device: str, batch_size: int) -> None:
        self.device = device
        self.batch_size = batch_size
        way_out = (
            "checkpoint_activations keeps less, and so does a smaller image_size."
            if batch_size == 1
            else "halve batch_size and double accumulate, which gives the same student."
        )
        images = "one image at a time" if batch_size == 1 else f"batches of {batch_size}"
        super().__init__(f"{device} ran out of memory with {images}: {way_out}")


class DeviceUnavailable(WecoloraError):
    """The device that was asked for is not there."""

    code = "device_unavailable"
    field = "device"

    def __init__(self, device: str) -> None:
        self.device = device
        super().__init__(f"device {device!r} is not available here: use 'cpu' or 'auto'.")


class RankFailed(WecoloraError):
    """One of the processes that train together has ended."""

    code = "rank_failed"
    field = "devices"

    def __init__(self, rank: int, reason: str) -> None:
        self.rank = rank
        self.reason = reason
        super().__init__(f"process {rank} of the training has failed: {reason}. The last checkpoint is kept.")


class NonFiniteLoss(WecoloraError):
    """The loss became infinite or not a number; the weights of that step are not used, earlier checkpoints stay."""

    code = "non_finite_loss"
    field = "lr"

    def __init__(self, step: int, value: float, learning_rate: float, checkpoint: str | None = None) -> None:
        self.step = step
        self.value = value
        self.learning_rate = learning_rate
        self.checkpoint = checkpoint
        kept = f" The last good checkpoint is {checkpoint}." if checkpoint else ""
        super().__init__(
            f"the loss is {value} at step {step} (learning rate {learning_rate:.2e}): lower lr, or use fp32.{kept}"
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


class TooFewImagesToCluster(WecoloraError):
    """Pseudo-labels are found by clustering the images, and there are too few to tell apart."""

    code = "too_few_images_to_cluster"
    field = "images"

    def __init__(self, found: int, required: int) -> None:
        self.found = found
        self.required = required
        super().__init__(
            f"the teacher has no classes, so the images are clustered for pseudo-labels: that needs at least "
            f"{required} images, and there are {found}. Add images, or choose another method."
        )
