"""Labelled images as every reader gives them and every probe takes them.

Legend: n images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wecolora.errors import LabelsRequired, UnknownClasses
from wecolora.evaluation.options import SetFormat

# Files, or decoded images [n, H, W, 3] uint8 where the publisher ships pixels.
Images = Sequence[Path] | np.ndarray


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One part of a labelled set.

    Attributes:
        source: folder or listing it was read from, for messages.
        images: n files, or pixels [n, H, W, 3] uint8.
        labels: [n] numbers of classes; or [n, C] booleans where an image may have any number of labels.
        classes: the C names.
        groups: [n] numbers of what must not be torn apart by a split (the patients of X-rays); None without.
    """

    source: str
    images: Images
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """True where an image may have any number of labels."""
        return self.labels.ndim == 2

    def counts(self) -> np.ndarray:
        """Images of each class, [C]."""
        if self.multi_label:
            return np.asarray(self.labels.sum(axis=0))
        return np.bincount(self.labels, minlength=len(self.classes))

    def take(self, indices: np.ndarray) -> "LabelledImages":
        """Some of the images, in the order of ``indices``."""
        images = (
            self.images[indices] if isinstance(self.images, np.ndarray) else [self.images[i] for i in indices]
        )
        groups = None if self.groups is None else self.groups[indices]
        return replace(self, images=images, labels=self.labels[indices], groups=groups)

    def numbered_by(self, classes: tuple[str, ...]) -> "LabelledImages":
        """The same with labels that count in ``classes``; classes without images may be left out.

        Raises:
            UnknownClasses: images have classes that are not among them.
        """
        present = self.counts() > 0
        unknown = sorted(
            {name for name, is_there in zip(self.classes, present, strict=True) if is_there} - set(classes)
        )
        if unknown:
            raise UnknownClasses(self.source, unknown)
        if classes == self.classes:
            return self
        place = {name: number for number, name in enumerate(classes)}
        if not self.multi_label:
            numbers = np.asarray([place.get(name, -1) for name in self.classes])
            return replace(self, labels=numbers[self.labels], classes=classes)
        labels = np.zeros((len(self), len(classes)), dtype=bool)
        for number, name in enumerate(self.classes):
            if name in place:
                labels[:, place[name]] = self.labels[:, number]
        return replace(self, labels=labels, classes=classes)

    def without_empty_classes(self) -> "LabelledImages":
        """The same without classes of which there is no image."""
        present = self.counts() > 0
        return self.numbered_by(
            tuple(name for name, is_there in zip(self.classes, present, strict=True) if is_there)
        )


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """A labelled set, its test part numbered by the classes of its training part.

    Attributes:
        format: how it lay on disk.
        train: what classifiers are fitted on.
        test: what they are judged on.
    """

    format: SetFormat
    train: LabelledImages
    test: LabelledImages

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.train.classes

    @property
    def multi_label(self) -> bool:
        """True where an image may have any number of labels."""
        return self.train.multi_label


def single_label(
    source: Path, images: Images, names: Sequence[str], groups: np.ndarray | None = None
) -> LabelledImages:
    """Images with one class each, by name; classes are numbered in alphabetical order."""
    classes = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(classes)}
    labels = np.asarray([place[name] for name in names], dtype=np.int64)
    return LabelledImages(str(source), images, labels, classes, groups)


def multi_label(
    source: Path, images: Images, names: Sequence[Sequence[str]], groups: np.ndarray | None = None
) -> LabelledImages:
    """Images with any number of labels each, by name; classes are numbered in alphabetical order."""
    classes = tuple(sorted({name for several in names for name in several}))
    place = {name: number for number, name in enumerate(classes)}
    labels = np.zeros((len(names), len(classes)), dtype=bool)
    for row, several in enumerate(names):
        labels[row, [place[name] for name in several]] = True
    return LabelledImages(str(source), images, labels, classes, groups)


def check_classes(part: LabelledImages) -> None:
    """Refuse what no classifier can be fitted on.

    Raises:
        LabelsRequired: fewer than two classes, or no labels at all where there may be any number.
    """
    needed = 1 if part.multi_label else 2
    found = len(part.classes)
    if found < needed:
        raise LabelsRequired(part.source, f"it has {found} {'class' if found == 1 else 'classes'}")
