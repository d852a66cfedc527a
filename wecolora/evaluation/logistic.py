"""Multinomial logistic regression on standardised features; one against the rest for multi-label images.

Its inverse regularisation strength is chosen on a held-out fifth of the training images, never on the test images.
"""

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from wecolora.evaluation.classifier import Classifier
from wecolora.evaluation.features import FeatureTable
from wecolora.evaluation.scores import quality
from wecolora.evaluation.splits import HELD_OUT_SHARE, held_out

# Inverse regularisation strengths tried on standardised features.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def fit_logistic(table: FeatureTable, seed: int) -> Classifier:
    """Choose the strength, then fit on all rows.

    Raises:
        ClassTooSmall: nothing can be held out.
    """
    kept, off = held_out(table.labels, table.classes, table.groups, HELD_OUT_SHARE, seed)
    fitted, judge = table.take(kept), table.take(off)
    found = [
        quality(_scores(_fit(fitted, strength), judge.features, table), judge.labels)
        for strength in STRENGTHS
    ]
    best = int(np.argmax(found))
    final = _fit(table, STRENGTHS[best])
    return Classifier(
        lambda features: _scores(final, features, table), found[best], regularisation=STRENGTHS[best]
    )


def _fit(table: FeatureTable, strength: float) -> Pipeline:
    regression = LogisticRegression(C=strength, max_iter=300)
    classifier = make_pipeline(
        StandardScaler(), OneVsRestClassifier(regression) if table.multi_label else regression
    )
    with warnings.catch_warnings():
        # Stopping early is itself a regularisation, and a label that no or every image of a split has gives a
        # constant; the held-out part judges both like any other.
        warnings.simplefilter("ignore")
        return classifier.fit(table.features, table.labels.astype(np.int64))


def _scores(fitted: Pipeline, features: np.ndarray, table: FeatureTable) -> np.ndarray:
    found = fitted.predict_proba(features)
    if table.multi_label:
        return np.asarray(found)
    # Classes that the fitted rows lack have no column; they come last.
    scores = np.full((len(features), len(table.classes)), -1.0)
    scores[:, fitted.classes_] = found
    return scores
