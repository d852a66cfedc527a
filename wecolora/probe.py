"""Linear probe: how much a frozen model's features tell a linear classifier about labelled images.

Features are computed once, by the model's own pooling (CLS token, mean or attention pooling, as timm defines it),
standardised on the training part, and given to multinomial logistic regression. Its regularisation is chosen on a
held-out fifth of the training images, never on the test images.
"""

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader

from wecolora.devices import resolve_device
from wecolora.errors import LabelsRequired, NoImages
from wecolora.images import PlainImages, Preprocessing, find_images
from wecolora.teachers import TeacherSpec, load_teacher, preprocessing_of

# Inverse regularisation strengths tried on standardised features.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class ProbeResult:
    """Outcome of a linear probe.

    Attributes:
        accuracy: share of test images whose class is ranked first, 0 … 1.
        top5: share whose class is among the first five; None with five classes or fewer.
        classes: number of classes.
        train_images: images the classifier was fitted on.
        test_images: images it was tested on.
        regularisation: inverse strength C that was chosen on the held-out part.
        held_out_accuracy: accuracy there with this C; None when there were too few images to hold some out.
    """

    accuracy: float
    top5: float | None
    classes: int
    train_images: int
    test_images: int
    regularisation: float
    held_out_accuracy: float | None

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class LabelledImages:
    """Image files and their classes."""

    paths: list[Path]
    labels: list[str]


def linear_probe(
    model: nn.Module | TeacherSpec | str | Path,
    train: Path | str,
    test: Path | str | None = None,
    device: str = "auto",
    seed: int = 0,
    batch_size: int = 64,
) -> ProbeResult:
    """Fit and test a linear classifier on frozen features.

    Args:
        model: a module, or what `load_teacher` takes.
        train: folder with one folder of images a class.
        test: likewise; None holds out a fifth of ``train``, class by class, by the seed.
        device: to compute the features on.
        seed: of the splits.
        batch_size: images at once through the model.

    Raises:
        LabelsRequired: no class folders, fewer than two classes, or test classes that the training part lacks.
        NoImages: a folder holds no images.
    """
    train_set = find_labelled(Path(train))
    if test is None:
        train_set, test_set = _split(train_set, Path(train), seed)
    else:
        test_set = find_labelled(Path(test))
    classes = sorted(set(train_set.labels))
    if len(classes) < 2:
        raise LabelsRequired(str(train), f"it has {len(classes)} class")
    unknown = sorted(set(test_set.labels) - set(classes))
    if unknown:
        raise LabelsRequired(str(test), f"class {unknown[0]!r} is not among the training classes")
    module = model if isinstance(model, nn.Module) else load_teacher(model)
    resolved = resolve_device(device)
    preprocessing = preprocessing_of(module)
    features = [
        extract_features(module, part.paths, preprocessing, resolved, batch_size)
        for part in (train_set, test_set)
    ]
    return _fit_and_test(
        features, [_numbers(part, classes) for part in (train_set, test_set)], len(classes), seed
    )


def find_labelled(folder: Path) -> LabelledImages:
    """Read ``CLASS/…/image`` files; the class is the first folder's name.

    Raises:
        NoImages: when there are no images.
        LabelsRequired: when images lie outside any class folder.
    """
    paths = find_images(folder)
    loose = [path for path in paths if path.parent == folder]
    if loose:
        raise LabelsRequired(str(folder), f"{loose[0].name} lies outside any class folder")
    return LabelledImages(paths, [path.relative_to(folder).parts[0] for path in paths])


@torch.inference_mode()
def extract_features(
    model: nn.Module,
    paths: list[Path],
    preprocessing: Preprocessing,
    device: torch.device,
    batch_size: int = 64,
) -> np.ndarray:
    """Pooled features of image files.

    Args:
        model: frozen.
        paths: of n images.
        preprocessing: what the model expects.
        device: to compute on.
        batch_size: images at once.

    Returns:
        [n, F] float32, F the width that the model's head would see.
    """
    if not paths:
        raise NoImages("the probe")
    home, mode = next(model.parameters()).device, model.training
    model.to(device).eval()
    try:
        batches = DataLoader(PlainImages(paths, preprocessing), batch_size=batch_size)
        pooled = [
            model.forward_head(model.forward_features(images.to(device)), pre_logits=True).float().cpu()  # type: ignore[operator]
            for images in batches
        ]
    finally:
        model.to(home).train(mode)
    return torch.cat(pooled).numpy()


def _split(labelled: LabelledImages, folder: Path, seed: int) -> tuple[LabelledImages, LabelledImages]:
    smallest = min(labelled.labels.count(name) for name in set(labelled.labels))
    if smallest < 2:
        raise LabelsRequired(
            str(folder), "a class has a single image, which cannot be split into training and test"
        )
    indices = np.arange(len(labelled.paths))
    classes = len(set(labelled.labels))
    size = max(classes, round(_TEST_SHARE * len(indices)))
    parts = train_test_split(indices, test_size=size, stratify=labelled.labels, random_state=seed % 2**32)
    first, second = (
        LabelledImages([labelled.paths[i] for i in sorted(part)], [labelled.labels[i] for i in sorted(part)])
        for part in parts
    )
    return first, second


def _numbers(part: LabelledImages, classes: list[str]) -> np.ndarray:
    index = {name: number for number, name in enumerate(classes)}
    return np.asarray([index[label] for label in part.labels])


def _fit_and_test(
    features: list[np.ndarray], labels: list[np.ndarray], classes: int, seed: int
) -> ProbeResult:
    strength, held_out = _choose_strength(features[0], labels[0], classes, seed)
    classifier = _fit(features[0], labels[0], strength)
    scores = classifier.predict_proba(features[1])
    ranked = np.argsort(-scores, axis=1, kind="stable")
    hits = ranked == labels[1][:, None]
    return ProbeResult(
        accuracy=float(hits[:, 0].mean()),
        top5=float(hits[:, :5].any(axis=1).mean()) if classes > 5 else None,
        classes=classes,
        train_images=len(labels[0]),
        test_images=len(labels[1]),
        regularisation=strength,
        held_out_accuracy=held_out,
    )


def _choose_strength(
    features: np.ndarray, labels: np.ndarray, classes: int, seed: int
) -> tuple[float, float | None]:
    size = round(_TEST_SHARE * len(labels))
    if np.bincount(labels, minlength=classes).min() < 2 or size < classes:
        return 0.01, None
    fitted, held_out, fitted_labels, held_out_labels = train_test_split(
        features, labels, test_size=size, stratify=labels, random_state=seed % 2**32
    )
    accuracies = [
        _fit(fitted, fitted_labels, strength).score(held_out, held_out_labels) for strength in STRENGTHS
    ]
    best = int(np.argmax(accuracies))
    return STRENGTHS[best], float(accuracies[best])


def _fit(features: np.ndarray, labels: np.ndarray, strength: float) -> Pipeline:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
    with warnings.catch_warnings():
        # Stopping early is itself a regularisation; the held-out part judges it like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier.fit(features, labels)
