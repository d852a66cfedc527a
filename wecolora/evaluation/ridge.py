"""Ridge regression of the classes' indicators on standardised features, in closed form.

W = (XᵀX / n + λI)⁻¹ XᵀY / n. One eigendecomposition of XᵀX / n gives W for every λ, so choosing λ on a held-out fifth
of the training images costs little. XᵀX is accumulated in float64, a block of rows at a time.

Legend: n images, F width of the features, C classes.
"""

from dataclasses import dataclass

import numpy as np

from wecolora.evaluation.classifier import Classifier
from wecolora.evaluation.features import FeatureTable
from wecolora.evaluation.scores import quality
from wecolora.evaluation.splits import HELD_OUT_SHARE, held_out

# Of the mean variance of a feature, which standardising makes 1.
STRENGTHS = tuple(float(10.0**power) for power in np.arange(-4, 3.5, 0.5))
_BLOCK = 16384


@dataclass(frozen=True, eq=False)
class _Normal:
    """The normal equations, diagonalised."""

    mean: np.ndarray  # [F]
    scale: np.ndarray  # [F]
    offset: np.ndarray  # [C], shares of the classes
    values: np.ndarray  # [F], eigenvalues of XᵀX / n
    vectors: np.ndarray  # [F, F]
    rotated: np.ndarray  # [F, C], eigenvectorsᵀ · XᵀY / n

    def weights(self, strength: float) -> np.ndarray:
        """W for one λ, [F, C]."""
        return np.asarray(self.vectors @ (self.rotated / (self.values + strength)[:, None]))

    def scores(self, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[n, C]."""
        return np.concatenate(
            [
                (features[start : start + _BLOCK] - self.mean) / self.scale @ weights + self.offset
                for start in range(0, len(features), _BLOCK)
            ]
        )


def fit_ridge(table: FeatureTable, seed: int) -> Classifier:
    """Choose λ, then fit on all rows.

    Raises:
        ClassTooSmall: nothing can be held out.
    """
    kept, off = held_out(table.labels, table.classes, table.groups, HELD_OUT_SHARE, seed)
    judge = table.take(off)
    normal = _normal_equations(table.take(kept))
    found = [
        quality(normal.scores(judge.features, normal.weights(strength)), judge.labels)
        for strength in STRENGTHS
    ]
    best = int(np.argmax(found))
    final = _normal_equations(table)
    weights = final.weights(STRENGTHS[best])
    return Classifier(
        lambda features: final.scores(features, weights), found[best], regularisation=STRENGTHS[best]
    )


def _normal_equations(table: FeatureTable) -> _Normal:
    features, targets, count = table.features, table.targets(), len(table.features)
    mean = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    scale[scale < 1e-8] = 1.0
    offset = targets.mean(axis=0)
    width = features.shape[1]
    gram, cross = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = (features[rows] - mean) / scale
        gram += block.T @ block
        cross += block.T @ (targets[rows] - offset)
    values, vectors = np.linalg.eigh(gram / count)
    return _Normal(mean, scale, offset, np.maximum(values, 0.0), vectors, vectors.T @ (cross / count))
