"""Accuracy, area under the ROC curve, and their intervals by the bootstrap.

Legend: n images, C classes, R resamples.
"""

import numpy as np
from scipy.stats import rankdata  # type: ignore[import-untyped]

RESAMPLES = 2000
_INTERVAL = (2.5, 97.5)
# Bootstrap weights are made for so many (resample, image) pairs at once.
_PAIRS = 2**23


def ranks_of_truth(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the true one, ties in the order of their numbers.

    Args:
        scores: [n, C], higher is likelier.
        labels: [n].

    Returns:
        [n], 0 where the true class comes first.
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return np.asarray(((scores > own) | ((scores == own) & earlier)).sum(axis=1))


def quality(scores: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy, or mean AUC over the classes that have one; what protocols choose their settings by.

    Returns:
        0 … 1; -1 where scores are not finite or no class has an AUC.
    """
    if not np.isfinite(scores).all():
        return -1.0
    if labels.ndim == 1:
        return float((ranks_of_truth(scores, labels) == 0).mean())
    areas = auc_per_class(scores, labels)
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else -1.0


def auc_per_class(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under each class's ROC curve, by the Mann–Whitney statistic; ties count half.

    Args:
        scores: [n, C].
        labels: [n, C] booleans.

    Returns:
        [C]; NaN for a class whose labels are all alike.
    """
    ranks = rankdata(scores, axis=0)
    positive = labels.sum(axis=0).astype(np.float64)
    negative = len(labels) - positive
    wins = (ranks * labels).sum(axis=0) - positive * (positive + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(positive * negative > 0, wins / (positive * negative), np.nan))


def accuracy_interval(hits: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % interval of an accuracy, by resampling the test images.

    The number of hits among n images drawn with replacement is binomial, so it is drawn as such.

    Args:
        hits: [n] booleans.
        seed: of the resamples.
    """
    drawn = np.random.default_rng(seed).binomial(len(hits), hits.mean(), size=RESAMPLES)
    low, high = np.percentile(drawn / len(hits), _INTERVAL)
    return float(low), float(high)


def difference_interval(first: np.ndarray, second: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % interval of the accuracy of ``second`` minus that of ``first`` on the same images (paired).

    Args:
        first: [n] booleans, hits of one model.
        second: [n] booleans, hits of the other on the same images.
        seed: of the resamples.
    """
    count = len(first)
    gained, lost = (second & ~first).sum() / count, (first & ~second).sum() / count
    drawn = np.random.default_rng(seed).multinomial(count, [gained, lost, 1 - gained - lost], size=RESAMPLES)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / count, _INTERVAL)
    return float(low), float(high)


def mean_auc_interval(scores: np.ndarray, labels: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % interval of the mean AUC, by resampling the test images.

    A resample is a weight (how often it was drawn) for every image. Images are sorted by score once a class; then
    the AUC of every resample is a sum over cumulated weights. A class that a resample leaves with one kind of label
    is left out of that resample's mean.

    Args:
        scores: [n, C].
        labels: [n, C] booleans.
        seed: of the resamples.
    """
    count, classes = scores.shape
    order = np.argsort(scores, axis=0, kind="stable")
    generator = np.random.default_rng(seed)
    means = []
    step = max(1, _PAIRS // count)
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        weights = generator.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        areas = np.stack(
            [
                _weighted_auc(scores[order[:, c], c], labels[order[:, c], c], weights[:, order[:, c]])
                for c in range(classes)
            ]
        )
        known = np.isfinite(areas)
        means.append(
            np.where(known, areas, 0).sum(axis=0)[known.any(axis=0)] / known.sum(axis=0)[known.any(axis=0)]
        )
    low, high = np.percentile(np.concatenate(means), _INTERVAL)
    return float(low), float(high)


def _weighted_auc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC of one class under R weightings; rows sorted by score, weights [R, n]; returns [R]."""
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights * ~labels, axis=1)], axis=1)
    left, right = np.searchsorted(scores, scores, "left"), np.searchsorted(scores, scores, "right")
    positive = np.flatnonzero(labels)
    own = weights[:, positive]
    wins = (own * (below[:, left[positive]] + below[:, right[positive]]) / 2).sum(axis=1)
    pairs = own.sum(axis=1) * below[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(pairs > 0, wins / pairs, np.nan))
