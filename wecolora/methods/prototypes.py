"""Pseudo-classes of images for a teacher that has no classes of its own.

Legend: n images, F width of the teacher's pooled features, K pseudo-classes.
"""

import warnings
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from wecolora.errors import TooFewImagesToCluster
from wecolora.images import PlainImages
from wecolora.pooling import pool
from wecolora.teachers import preprocessing_of
from wecolora.views import AugmentedImages

_IMAGES_PER_CLUSTER = 10
_MOST_CLUSTERS = 1000  # as many as ImageNet, which the paper distils on, has classes
_FEWEST_CLUSTERS = 2
_TEMPERATURE = 0.1  # of cosines, as self-supervised methods with prototypes have it
_STARTS = 4
_BATCH = 64


class Prototypes(nn.Module):
    """K directions in the teacher's feature space; an image's logits are its cosines with them.

    The features' mean is taken off first: what all images share (in features of masked autoencoders nearly
    everything) would make all cosines alike.

    The two tensors are parameters that require no gradient: no step changes them, but they belong to the state of
    the run, so that a resumed run has the same pseudo-classes without computing them again.

    Args:
        clusters: K.
        width: F.
    """

    def __init__(self, clusters: int, width: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.directions = nn.Parameter(torch.zeros(clusters, width), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, [B, K], of the teacher's pooled features, [B, F]."""
        centred = F.normalize(features.float() - self.centre, dim=-1)
        return centred @ self.directions.T / _TEMPERATURE


def count_clusters(images: int) -> int:
    """K for so many images: one for every ten, from 2 to 1,000.

    Raises:
        TooFewImagesToCluster: there are fewer than two images.
    """
    if images < _FEWEST_CLUSTERS:
        raise TooFewImagesToCluster(images, _FEWEST_CLUSTERS)
    return max(_FEWEST_CLUSTERS, min(_MOST_CLUSTERS, images // _IMAGES_PER_CLUSTER))


def find_prototypes(features: np.ndarray, clusters: int, seed: int) -> Prototypes:
    """k-means on the directions of the centred features.

    Args:
        features: of the images, [n, F].
        clusters: K, at most n.
        seed: of the starting points.
    """
    points = features.astype(np.float64)
    centre = points.mean(axis=0)
    points = points - centre
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    with warnings.catch_warnings():
        # Copies of one image give fewer clusters than asked for; the others are then never chosen.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(clusters, n_init=_STARTS, random_state=seed % 2**32).fit(points)
    # Means taken anew, in one order: those of several threads differ in their last bits from run to run.
    means = np.stack(
        [
            points[fitted.labels_ == cluster].mean(axis=0)
            if (fitted.labels_ == cluster).any()
            else fitted.cluster_centers_[cluster]
            for cluster in range(clusters)
        ]
    )
    prototypes = Prototypes(clusters, features.shape[1])
    with torch.no_grad():
        prototypes.centre.copy_(torch.from_numpy(centre))
        prototypes.directions.copy_(F.normalize(torch.from_numpy(means), dim=-1))
    return prototypes


@torch.no_grad()
def teacher_features(teacher: nn.Module, views: AugmentedImages, device: torch.device) -> np.ndarray:
    """The teacher's pooled features, [n, F], of every image as timm evaluates it: resized, its centre cut out.

    Args:
        teacher: in eval mode, on the device.
        views: whose images are read.
        device: to compute on.
    """
    transform = PlainImages([], preprocessing_of(teacher)).transform
    pooled = []
    for start in range(0, len(views), _BATCH):
        numbers = range(start, min(start + _BATCH, len(views)))
        batch = torch.stack([cast("Tensor", transform(views.images.image(number))) for number in numbers])
        pooled.append(pool(teacher, batch.to(device)).float().cpu())
    return torch.cat(pooled).numpy()
