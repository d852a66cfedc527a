"""Features of labelled images, computed once and given to every protocol.

Legend: n images, F width of the features, B images in a batch.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wecolora.devices import resolve_device
from wecolora.errors import NoImages, NonFiniteFeatures, UnreadableImages
from wecolora.evaluation.labelled import Images, LabelledImages
from wecolora.images import PlainImages, decode
from wecolora.pooling import pool
from wecolora.teachers import preprocessing_of


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of one part of a labelled set, and its labels.

    Attributes:
        features: [n, F] float32.
        labels: [n] numbers of classes, or [n, C] booleans.
        classes: the C names.
        groups: [n] numbers of what must not be torn apart, or None.
        source: where the images come from, for messages.
    """

    features: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray | None = None
    source: str = "the features"

    @property
    def multi_label(self) -> bool:
        """True where an image may have any number of labels."""
        return self.labels.ndim == 2

    def targets(self) -> np.ndarray:
        """Labels as [n, C] booleans, whatever their kind."""
        if self.multi_label:
            return self.labels
        return np.asarray(self.labels[:, None] == np.arange(len(self.classes)))

    def take(self, indices: np.ndarray) -> "FeatureTable":
        """Some of the rows."""
        groups = None if self.groups is None else self.groups[indices]
        return FeatureTable(self.features[indices], self.labels[indices], self.classes, groups, self.source)


def tabulate_features(
    model: nn.Module, part: LabelledImages, device: str = "auto", batch_size: int = 64
) -> FeatureTable:
    """Features of one part of a labelled set with its labels; errors as `extract_features`."""
    features = extract_features(model, part.images, device, batch_size)
    return FeatureTable(features, part.labels, part.classes, part.groups, part.source)


@torch.inference_mode()
def extract_features(
    model: nn.Module,
    images: Images,
    device: str = "auto",
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Pooled features, as the model's own head would see them: CLS token, mean or attention pooling.

    Images are resized and cropped as timm evaluates the model. The next batch is decoded while the model computes.

    Args:
        model: frozen; given back as it was.
        images: files, or pixels [n, H, W, 3] uint8.
        device: to compute on.
        batch_size: B.
        on_progress: called with (done, all) after every batch.

    Returns:
        [n, F] float32.

    Raises:
        NoImages: ``images`` is empty.
        UnreadableImages: some cannot be decoded; all of them are named.
        NonFiniteFeatures: the model gives NaN or infinity.
        DeviceUnavailable: no such device here.
    """
    if not len(images):
        raise NoImages("the labelled set")
    resolved = resolve_device(device)
    home, mode = next(model.parameters()).device, model.training
    view = PlainImages([], preprocessing_of(model)).transform
    unreadable: list[str] = []
    pooled: list[Tensor] = []
    model.to(resolved).eval()
    try:
        for done, views in _batches(images, view, batch_size, unreadable):
            if not unreadable:  # after the first broken image the rest is only looked through
                pooled.append(pool(model, views.to(resolved)).float().cpu())
            if on_progress is not None:
                on_progress(done, len(images))
    finally:
        model.to(home).train(mode)
    if unreadable:
        raise UnreadableImages(unreadable, len(images))
    features = torch.cat(pooled).numpy()
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise NonFiniteFeatures(_name(images, int(bad[0])), len(bad), len(images))
    return features


def _batches(
    images: Images, view: Callable[[Image.Image], Tensor], batch_size: int, unreadable: list[str]
) -> Iterator[tuple[int, Tensor]]:
    """Views [B, 3, S, S] in order, one batch ahead; names of undecodable images go to ``unreadable``."""

    def attempt(index: int) -> Tensor | str:
        try:
            each = images[index]
            return view(decode(each) if isinstance(each, Path) else Image.fromarray(each))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return _name(images, index)

    with ThreadPoolExecutor() as pool:

        def submit(start: int) -> list[Future[Tensor | str]]:
            return [pool.submit(attempt, i) for i in range(start, min(start + batch_size, len(images)))]

        ahead = submit(0)
        for start in range(0, len(images), batch_size):
            batch, ahead = ahead, submit(start + batch_size)
            outcomes = [future.result() for future in batch]
            unreadable.extend(outcome for outcome in outcomes if isinstance(outcome, str))
            views = [outcome for outcome in outcomes if not isinstance(outcome, str)]
            yield start + len(batch), torch.stack(views) if views else torch.empty(0)


def _name(images: Images, index: int) -> str:
    each = images[index]
    return str(each) if isinstance(each, Path) else f"image {index}"
