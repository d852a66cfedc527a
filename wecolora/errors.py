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


class InvalidLabelledSet(WecoloraError):
    """A labelled set's files are not as its format has them."""

    code = "invalid_labelled_set"
    field = "probe"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be read as a labelled set: {reason}.")


class PathOutsideFolder(WecoloraError):
    """A listing names a file outside the folder that it belongs to."""

    code = "path_outside_folder"
    field = "probe"

    def __init__(self, listing: str, name: str) -> None:
        self.listing = listing
        self.name = name
        super().__init__(
            f"{listing} names {name!r}, which leads out of its folder: list paths relative to the folder, "
            "without '..' at their start."
        )


class LabelledImagesMissing(WecoloraError):
    """Images that a listing names are not there."""

    code = "labelled_images_missing"
    field = "probe"

    def __init__(self, listing: str, missing: Sequence[str], total: int) -> None:
        self.listing = listing
        self.missing = tuple(missing)
        self.total = total
        super().__init__(
            f"{len(missing):,} of {total:,} images that {listing} names are not there: {_some(missing)}. "
            "Bring them, or take their lines out."
        )


class UnreadableImages(WecoloraError):
    """Labelled images that cannot be decoded; leaving them out would change the score in silence."""

    code = "unreadable_images"
    field = "probe"

    def __init__(self, names: Sequence[str], total: int) -> None:
        self.names = tuple(names)
        self.total = total
        super().__init__(
            f"{len(names):,} of {total:,} labelled images cannot be decoded: {_some(names)}. "
            "Repair them or take them out."
        )


class ClassTooSmall(WecoloraError):
    """A class has too few images to hold some of them out."""

    code = "class_too_small"
    field = "probe"

    def __init__(self, class_name: str, found: int, required: int) -> None:
        self.class_name = class_name
        self.found = found
        self.required = required
        images = "image" if found == 1 else "images"
        super().__init__(
            f"class {class_name!r} has {found} training {images}, and {required} are needed to hold some out: "
            "add images, take the class out, or use k-NN with a test part of its own, which holds nothing out."
        )


class UnknownClasses(WecoloraError):
    """The test part has classes that the training part lacks."""

    code = "unknown_classes"
    field = "probe"

    def __init__(self, folder: str, classes: Sequence[str]) -> None:
        self.folder = folder
        self.classes = tuple(classes)
        noun = "class" if len(classes) == 1 else "classes"
        super().__init__(
            f"{folder} has {len(classes)} {noun} that the training part lacks: {_some(classes)}. "
            "Add training images of them, or take them out of the test part."
        )


class LabelKindsDiffer(WecoloraError):
    """One part has one label an image, the other has any number."""

    code = "label_kinds_differ"
    field = "probe"

    def __init__(self, train: str, test: str, train_is_multi_label: bool) -> None:
        self.train = train
        self.test = test
        several, single = (train, test) if train_is_multi_label else (test, train)
        super().__init__(
            f"{several} has any number of labels an image and {single} exactly one: they cannot be scored alike. "
            "In a CSV, a header 'path,labels' says that images may have any number of labels."
        )


class PreprocessingMismatch(WecoloraError):
    """Models that are to be compared do not see the same pictures."""

    code = "preprocessing_mismatch"
    field = "image_size"

    def __init__(self, models: Sequence[str], differences: Sequence[str]) -> None:
        self.models = tuple(models)
        self.differences = tuple(differences)
        super().__init__(
            f"{' and '.join(models)} do not see the same pictures: {'; '.join(differences)}. Load them with the "
            "same image_size, mean and std, or probe each by itself."
        )


class NonFiniteFeatures(WecoloraError):
    """A model answers images with NaN or infinity, on which no classifier can be fitted."""

    code = "non_finite_features"
    field = "teacher"

    def __init__(self, first: str, count: int, total: int) -> None:
        self.first = first
        self.count = count
        self.total = total
        super().__init__(
            f"{count:,} of {total:,} feature vectors hold NaN or infinity, the first for {first}: the model's weights "
            "are damaged or its training diverged; take another checkpoint."
        )


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class NoRun(WecoloraError):
    """The folder holds no finished distillation."""

    code = "no_run"
    field = "run"

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(
            f"{folder} holds no finished run (there is no readable report.json): give the folder that was --out of "
            "'wecolora distill'."
        )


class UnreadableImage(WecoloraError):
    """An image that was asked for by name cannot be decoded."""

    code = "unreadable_image"
    field = "images"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be read as an image: {reason}. Leave it out, or give another file.")


class TooFewImages(WecoloraError):
    """There are fewer images than a picture or a measurement needs."""

    code = "too_few_images"
    field = "probe"

    def __init__(self, purpose: str, found: int, required: int) -> None:
        self.purpose = purpose
        self.found = found
        self.required = required
        super().__init__(f"{purpose} needs at least {required} images, and there are {found}: add some.")


class AttentionUnavailable(WecoloraError):
    """The model's attention cannot be read as one matrix over its tokens a block."""

    code = "attention_unavailable"
    field = "images"

    def __init__(self, architecture: str, reason: str) -> None:
        self.architecture = architecture
        self.reason = reason
        super().__init__(
            f"the attention of {architecture} cannot be drawn: {reason}. Leave the images out; everything else of the "
            "report works."
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
