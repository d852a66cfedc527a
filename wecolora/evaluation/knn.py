"""Weighted k-nearest neighbours by cosine similarity: nothing is fitted and nothing is chosen.

A neighbour votes for its class with weight exp(similarity / T) (Wu et al., Unsupervised Feature Learning via
Non-Parametric Instance Discrimination, CVPR 2018, Section 3.4), k = 20 and T = 0.07 as DINO reports it (Caron et al.,
ICCV 2021). Where an image may have any number of labels, a label's score is its share of the votes.
"""

import numpy as np
import torch
from torch.nn.functional import normalize

from wecolora.evaluation.classifier import Classifier
from wecolora.evaluation.features import FeatureTable

NEIGHBOURS = 20
TEMPERATURE = 0.07
# Similarities computed at once.
_PAIRS = 2**25


def fit_knn(
    table: FeatureTable, neighbours: int = NEIGHBOURS, temperature: float = TEMPERATURE
) -> Classifier:
    """Remember the training features.

    Args:
        table: n rows.
        neighbours: k, at most n.
        temperature: T.
    """
    known = normalize(torch.from_numpy(np.ascontiguousarray(table.features)), dim=1)
    targets = torch.from_numpy(table.targets().astype(np.float32))
    count = min(neighbours, len(known))

    def scores(features: np.ndarray) -> np.ndarray:
        asked = normalize(torch.from_numpy(np.ascontiguousarray(features)), dim=1)
        votes = []
        for block in torch.split(asked, max(1, _PAIRS // len(known))):
            similarity, nearest = (block @ known.T).topk(count, dim=1)
            weights = torch.softmax(similarity / temperature, dim=1)
            found = torch.zeros(len(block), targets.shape[1])
            for column in range(count):  # [B, C] at a time instead of [B, k, C]
                found += weights[:, column, None] * targets[nearest[:, column]]
            votes.append(found)
        return torch.cat(votes).numpy()

    return Classifier(scores, neighbours=count)
