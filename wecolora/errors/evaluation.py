"""Labelled sets, probes and pictures that cannot be made."""

from collections.abc import Sequence

from wecolora.errors.base import WecoloraError


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


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
