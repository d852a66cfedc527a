"""Hold images out, class by class or by whole groups, by a seed."""

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from wecolora.errors import ClassTooSmall
from wecolora.evaluation.labelled import LabelledImages

# Share of the training images on which regularisation, rates and epochs are chosen.
HELD_OUT_SHARE = 0.2


def split_off(part: LabelledImages, share: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Split a share of the images off as a test part.

    Raises:
        ClassTooSmall: see `held_out`.
    """
    rest, off = held_out(part.labels, part.classes, part.groups, share, seed)
    return part.take(rest), part.take(off)


def check_held_out(part: LabelledImages, seed: int) -> None:
    """Find out before any work whether images can be held out of a training part.

    Raises:
        ClassTooSmall: see `held_out`.
    """
    held_out(part.labels, part.classes, part.groups, HELD_OUT_SHARE, seed)


def held_out(
    labels: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images that are kept and of those that are held out.

    Single labels are held out class by class; where an image may have any number of labels, at random; groups, where
    they are known, go to one side whole.

    Args:
        labels: [n] numbers, or [n, C] booleans.
        classes: the C names.
        groups: [n] or None.
        share: of the images to hold out; at least one a class where labels are single.
        seed: of the choice.

    Returns:
        Two sorted arrays that have all indices between them.

    Raises:
        ClassTooSmall: a class with a single image, or a single image or group in all.
    """
    indices, state = np.arange(len(labels)), seed % 2**32
    if groups is not None:
        if len(np.unique(groups)) < 2:
            raise ClassTooSmall(classes[0], 1, 2)
        splitter = GroupShuffleSplit(1, test_size=share, random_state=state)
        kept, off = next(splitter.split(indices, groups=groups))
        return np.sort(kept), np.sort(off)
    if labels.ndim == 2:
        if len(labels) < 2:
            raise ClassTooSmall(classes[0], len(labels), 2)
        size = min(max(1, round(share * len(labels))), len(labels) - 1)
        kept, off = train_test_split(indices, test_size=size, random_state=state)
        return np.sort(kept), np.sort(off)
    counts = np.bincount(labels, minlength=len(classes))
    present = np.flatnonzero(counts)
    smallest = int(present[np.argmin(counts[present])])
    if counts[smallest] < 2:
        raise ClassTooSmall(classes[smallest], int(counts[smallest]), 2)
    size = min(max(len(present), round(share * len(labels))), len(labels) - len(present))
    kept, off = train_test_split(indices, test_size=size, stratify=labels, random_state=state)
    return np.sort(kept), np.sort(off)
