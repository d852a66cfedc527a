"""Probe one model: how much its frozen features tell about labelled images.

Features are computed once, by the model's own pooling, and given to one of four protocols (`ProbeProtocol`). Whatever a
protocol chooses it chooses on a held-out fifth of the training images, never on the test images.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wecolora.devices import resolve_device
from wecolora.errors import LabelsRequired, NonFiniteFeatures, OutOfRange
from wecolora.evaluation.classifier import Classifier
from wecolora.evaluation.features import FeatureTable, tabulate_features
from wecolora.evaluation.labelled import LabelledSet
from wecolora.evaluation.options import ProbeProtocol, choose
from wecolora.evaluation.readers import read_labelled
from wecolora.evaluation.scores import accuracy_interval, auc_per_class, mean_auc_interval, ranks_of_truth
from wecolora.evaluation.splits import check_held_out
from wecolora.teachers import TeacherSpec, load_teacher

Model = nn.Module | TeacherSpec | str | Path


@dataclass(frozen=True)
class ProbeResult:
    """Outcome of a probe. Single labels have an accuracy, any number of labels a mean AUC; the other is None.

    Attributes:
        accuracy: share of test images whose class is ranked first, 0 … 1.
        top5: share whose class is among the first five; None with five classes or fewer.
        classes: number of classes.
        train_images: images the classifier was fitted on.
        test_images: images it was tested on.
        regularisation: strength that was chosen on the held-out part: C of "logistic" (inverse), λ of "ridge".
        held_out_accuracy: accuracy there with what was chosen.
        protocol: how the features were judged.
        mean_auc: mean of ``auc_per_class``.
        auc_per_class: area under the ROC curve by class name.
        left_out_classes: classes without an AUC, because the test images all have them or all lack them.
        held_out_auc: mean AUC on the held-out part.
        confidence_interval: 95 % interval of accuracy or mean AUC, by resampling the test images.
        learning_rate: base rate that "lars" chose.
        epoch: number of epochs that "lars" chose.
        neighbours: k of "knn".
    """

    accuracy: float | None
    top5: float | None
    classes: int
    train_images: int
    test_images: int
    regularisation: float | None
    held_out_accuracy: float | None
    protocol: str
    mean_auc: float | None = None
    auc_per_class: dict[str, float] | None = None
    left_out_classes: tuple[str, ...] = ()
    held_out_auc: float | None = None
    confidence_interval: tuple[float, float] | None = None
    learning_rate: float | None = None
    epoch: int | None = None
    neighbours: int | None = None

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {**asdict(self), "left_out_classes": list(self.left_out_classes)} | (
            {"confidence_interval": list(self.confidence_interval)} if self.confidence_interval else {}
        )


def linear_probe(  # noqa: PLR0913 - all but the first three are keywords
    model: Model,
    train: Path | str | LabelledSet,
    test: Path | str | None = None,
    *,
    protocol: str = "logistic",
    format: str = "auto",
    device: str = "auto",
    seed: int = 0,
    batch_size: int = 64,
) -> ProbeResult:
    """Fit and test a classifier on frozen features.

    Args:
        model: a module, or what `load_teacher` takes.
        train: a labelled set's folder, or a CSV file (see `read_labelled`); or a set read already, with its test part.
        test: likewise a folder or file; None takes the set's own test part, or holds a fifth of ``train`` out.
        protocol: "logistic" (quick), "lars" (the authors'), "ridge" (quickest) or "knn".
        format: how the set lies on disk; "auto" sees for itself.
        device: to compute the features on.
        seed: of the splits, the probe's order and start, and the resamples.
        batch_size: images at once through the model.

    Raises:
        OutOfRange: no such protocol or format.
        LabelsRequired, InvalidLabelledSet, UnknownClasses, …: see `read_labelled`.
        UnreadableImages, NonFiniteFeatures: see `extract_features`.
        ClassTooSmall: a class with one training image, none of which can be held out ("knn" holds none out).
    """
    chosen = choose(ProbeProtocol, "protocol", protocol)
    labelled = train if isinstance(train, LabelledSet) else read_labelled(train, test, format, seed)
    if chosen is not ProbeProtocol.KNN:
        check_held_out(labelled.train, seed)
    module = model if isinstance(model, nn.Module) else load_teacher(model)
    tables = [tabulate_features(module, part, device, batch_size) for part in (labelled.train, labelled.test)]
    return probe_tables(tables[0], tables[1], chosen, seed, device)


def knn_score(
    model: Model,
    train: Path | str | LabelledSet,
    test: Path | str | None = None,
    *,
    format: str = "auto",
    device: str = "auto",
    seed: int = 0,
) -> ProbeResult:
    """Weighted k-NN on frozen features (k = 20, T = 0.07); `linear_probe` with protocol "knn"."""
    return linear_probe(
        model, train, test, protocol=ProbeProtocol.KNN, format=format, device=device, seed=seed
    )


def probe_features(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    protocol: str = "logistic",
    classes: tuple[str, ...] | None = None,
    seed: int = 0,
) -> ProbeResult:
    """Fit and test a classifier on features that are there already.

    Args:
        train_features: [n, F].
        train_labels: [n] numbers of classes from 0; or [n, C] booleans where an image may have any number of labels.
        test_features: [m, F].
        test_labels: [m], or [m, C].
        protocol: see `linear_probe`.
        classes: the C names; numbers without.
        seed: see `linear_probe`.

    Raises:
        OutOfRange: shapes, kinds or numbers of labels do not agree, or no such protocol.
        NonFiniteFeatures, LabelsRequired, ClassTooSmall: see `linear_probe`.
    """
    chosen = choose(ProbeProtocol, "protocol", protocol)
    kinds = [np.asarray(labels) for labels in (train_labels, test_labels)]
    if classes is None:
        found = kinds[0].shape[1] if kinds[0].ndim == 2 else int(kinds[0].max(initial=-1)) + 1
        classes = tuple(str(number) for number in range(found))
    tables = [
        _checked_table(name, np.asarray(features), labels, classes)
        for name, features, labels in zip(
            ("train", "test"), (train_features, test_features), kinds, strict=True
        )
    ]
    if len(classes) < 2 and kinds[0].ndim == 1:
        raise LabelsRequired("train_labels", f"it has {len(classes)} class")
    if kinds[0].ndim != kinds[1].ndim:
        raise OutOfRange("test_labels", kinds[1].shape, "of the kind of train_labels", f"{kinds[0].shape}")
    if tables[0].features.shape[1] != tables[1].features.shape[1]:
        raise OutOfRange("test_features", tables[1].features.shape, "as wide as train_features")
    return probe_tables(tables[0], tables[1], chosen, seed)


def _checked_table(
    name: str, features: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> FeatureTable:
    if features.ndim != 2 or not len(features):
        raise OutOfRange(f"{name}_features", features.shape, "a table [images, width]")
    fits = (
        labels.ndim in (1, 2) and len(labels) == len(features) and labels.shape[1:] in ((), (len(classes),))
    )
    if not fits:
        raise OutOfRange(f"{name}_labels", labels.shape, f"[{len(features)}] or [{len(features)}, classes]")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise NonFiniteFeatures(f"row {bad[0]} of {name}_features", len(bad), len(features))
    if labels.ndim == 1 and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise OutOfRange(f"{name}_labels", int(labels.max()), f"from 0 to {len(classes) - 1}")
    kind = np.int64 if labels.ndim == 1 else np.bool_
    return FeatureTable(features.astype(np.float32, copy=False), labels.astype(kind), classes, None, name)


def probe_tables(
    train: FeatureTable, test: FeatureTable, protocol: ProbeProtocol, seed: int, device: str = "cpu"
) -> ProbeResult:
    """Fit on one table and test on another; errors as `probe_features`."""
    return judge(fit(train, protocol, seed, resolve_device(device)), protocol, train, test, seed)[0]


def fit(table: FeatureTable, protocol: ProbeProtocol, seed: int, device: torch.device) -> Classifier:
    """Fit a classifier by a protocol; each brings what it needs when it is first used."""
    if protocol is ProbeProtocol.LOGISTIC:
        from wecolora.evaluation.logistic import fit_logistic

        return fit_logistic(table, seed)
    if protocol is ProbeProtocol.LARS:
        from wecolora.evaluation.lars import fit_lars

        return fit_lars(table, seed, device)
    if protocol is ProbeProtocol.RIDGE:
        from wecolora.evaluation.ridge import fit_ridge

        return fit_ridge(table, seed)
    from wecolora.evaluation.knn import fit_knn

    return fit_knn(table)


def judge(
    classifier: Classifier, protocol: ProbeProtocol, train: FeatureTable, test: FeatureTable, seed: int
) -> tuple[ProbeResult, np.ndarray | None]:
    """Score a fitted classifier on the test part.

    Returns:
        The result, and the hits [n] where labels are single.

    Raises:
        LabelsRequired: no class has an AUC.
    """
    scores = classifier.scores(test.features)
    common: dict[str, object] = {
        "classes": len(train.classes),
        "train_images": len(train.labels),
        "test_images": len(test.labels),
        "regularisation": classifier.regularisation,
        "protocol": protocol.value,
        "learning_rate": classifier.learning_rate,
        "epoch": classifier.epoch,
        "neighbours": classifier.neighbours,
    }
    if test.multi_label:
        return _judge_areas(scores, test, classifier, common, seed), None
    ranks = ranks_of_truth(scores, test.labels)
    hits = ranks == 0
    result = ProbeResult(
        accuracy=float(hits.mean()),
        top5=float((ranks < 5).mean()) if len(train.classes) > 5 else None,
        held_out_accuracy=classifier.held_out,
        confidence_interval=accuracy_interval(hits, seed),
        **common,  # type: ignore[arg-type]
    )
    return result, hits


def _judge_areas(
    scores: np.ndarray, test: FeatureTable, classifier: Classifier, common: dict[str, object], seed: int
) -> ProbeResult:
    areas = auc_per_class(scores, test.labels)
    known = np.isfinite(areas)
    if not known.any():
        raise LabelsRequired(
            test.source, "no class has test images both with and without it, so there is no AUC"
        )
    named = dict(zip(test.classes, areas, strict=True))
    return ProbeResult(
        accuracy=None,
        top5=None,
        held_out_accuracy=None,
        mean_auc=float(areas[known].mean()),
        auc_per_class={name: float(area) for name, area in named.items() if np.isfinite(area)},
        left_out_classes=tuple(name for name, area in named.items() if not np.isfinite(area)),
        held_out_auc=classifier.held_out,
        confidence_interval=mean_auc_interval(scores[:, known], test.labels[:, known], seed),
        **common,  # type: ignore[arg-type]
    )
