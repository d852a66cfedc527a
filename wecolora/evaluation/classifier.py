"""What every protocol gives: a function from features to scores, and what was chosen on the held-out part."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier.

    Attributes:
        scores: from features [n, F] to scores [n, C], higher is likelier.
        held_out: accuracy (or mean AUC) on the held-out part with what was chosen; None where nothing is chosen.
        regularisation: chosen strength: C of logistic regression (inverse), λ of ridge regression.
        learning_rate: chosen base rate, for a batch of 256.
        epoch: chosen number of epochs.
        neighbours: k of k-NN.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    held_out: float | None = None
    regularisation: float | None = None
    learning_rate: float | None = None
    epoch: int | None = None
    neighbours: int | None = None
