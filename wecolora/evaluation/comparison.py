"""Teacher and students side by side: features once a model, every protocol on the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from wecolora.devices import resolve_device
from wecolora.errors import OutOfRange, PreprocessingMismatch
from wecolora.evaluation.features import tabulate_features
from wecolora.evaluation.labelled import LabelledSet
from wecolora.evaluation.options import ProbeProtocol, choose
from wecolora.evaluation.probe import Model, ProbeResult, fit, judge
from wecolora.evaluation.readers import read_labelled
from wecolora.evaluation.scores import difference_interval
from wecolora.evaluation.splits import check_held_out
from wecolora.teachers import load_teacher, preprocessing_of


@dataclass(frozen=True)
class Difference:
    """How much more accurate a model is than the first one, on the same test images.

    Attributes:
        accuracy: difference of the accuracies, -1 … 1.
        confidence_interval: its 95 % interval, images resampled in pairs; without 0 in it, the difference is more than
            chance of the test images.
    """

    accuracy: float
    confidence_interval: tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """Every protocol for every model.

    Attributes:
        results: by model, then by protocol.
        differences: to the first model, by model, then by protocol; only where labels are single.
    """

    results: dict[str, dict[str, ProbeResult]]
    differences: dict[str, dict[str, Difference]]

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "results": {
                model: {protocol: result.to_dict() for protocol, result in row.items()}
                for model, row in self.results.items()
            },
            "differences": {
                model: {
                    protocol: {**asdict(each), "confidence_interval": list(each.confidence_interval)}
                    for protocol, each in row.items()
                }
                for model, row in self.differences.items()
            },
        }


def evaluate(  # noqa: PLR0913 - all but the first three are keywords
    models: Mapping[str, Model],
    train: Path | str | LabelledSet,
    test: Path | str | None = None,
    *,
    protocols: Sequence[str] = ("logistic", "knn"),
    format: str = "auto",
    device: str = "auto",
    seed: int = 0,
    batch_size: int = 64,
) -> Evaluation:
    """Compare models, the first of which is what the others are compared with (the teacher).

    Args:
        models: by name; see `linear_probe`.
        train: see `linear_probe`.
        test: see `linear_probe`.
        protocols: any of `ProbeProtocol`.
        format: see `read_labelled`.
        device: to compute the features on.
        seed: see `linear_probe`.
        batch_size: images at once through a model.

    Raises:
        PreprocessingMismatch: the models do not see the same pictures.
        OutOfRange: no models or protocols, or no such protocol.
        LabelsRequired, …: see `linear_probe`.
    """
    chosen = [choose(ProbeProtocol, "protocols", protocol) for protocol in protocols]
    if not models or not chosen:
        raise OutOfRange("models" if not models else "protocols", [], "at least one")
    resolved = resolve_device(device)
    labelled = train if isinstance(train, LabelledSet) else read_labelled(train, test, format, seed)
    if set(chosen) - {ProbeProtocol.KNN}:
        check_held_out(labelled.train, seed)
    loaded = {
        name: model if isinstance(model, nn.Module) else load_teacher(model) for name, model in models.items()
    }
    check_preprocessing(loaded)
    results: dict[str, dict[str, ProbeResult]] = {}
    hits: dict[str, dict[str, np.ndarray]] = {}
    for name, model in loaded.items():
        tables = [
            tabulate_features(model, part, device, batch_size) for part in (labelled.train, labelled.test)
        ]
        results[name], hits[name] = {}, {}
        for protocol in chosen:
            classifier = fit(tables[0], protocol, seed, resolved)
            result, found = judge(classifier, protocol, tables[0], tables[1], seed)
            results[name][protocol.value] = result
            if found is not None:
                hits[name][protocol.value] = found
    first, *others = loaded
    differences = {
        name: {
            protocol: _difference(hits[first][protocol], found, seed)
            for protocol, found in hits[name].items()
        }
        for name in others
    }
    return Evaluation(results, differences)


def check_preprocessing(models: Mapping[str, nn.Module]) -> None:
    """Refuse models that see pictures of another size, normalisation, filter or crop than the first one.

    Raises:
        PreprocessingMismatch: with what differs.
    """
    (first, reference), *others = ((name, preprocessing_of(model)) for name, model in models.items())
    for name, own in others:
        differences = [
            f"{field} is {wanted!r} for {first} and {asdict(own)[field]!r} for {name}"
            for field, wanted in asdict(reference).items()
            if asdict(own)[field] != wanted
        ]
        if differences:
            raise PreprocessingMismatch((first, name), differences)


def _difference(first: np.ndarray, second: np.ndarray, seed: int) -> Difference:
    return Difference(float(second.mean() - first.mean()), difference_interval(first, second, seed))
