"""Read a labelled set, whatever its publisher's layout, and see to a training and a test part."""

from collections.abc import Callable
from pathlib import Path

from wecolora.errors import InvalidLabelledSet, LabelKindsDiffer, NoImages
from wecolora.evaluation.cifar import cifar_folder, read_cifar_100
from wecolora.evaluation.folders import read_folders, read_resisc45, resisc45_tree
from wecolora.evaluation.imagenet import imagenet_root, read_imagenet
from wecolora.evaluation.labelled import LabelledImages, LabelledSet, check_classes
from wecolora.evaluation.listings import chestx_entries, read_chestx_ray14, read_csv, read_inaturalist_2019
from wecolora.evaluation.options import SetFormat, choose
from wecolora.evaluation.splits import split_off

Parts = tuple[LabelledImages, LabelledImages | None]

_TEST_SHARE = 0.2
# The paper tests on 80 % of RESISC45 (Section 4.1).
_RESISC45_TEST_SHARE = 0.8
_TEST_LISTINGS = ("test.csv", "val.csv")


def read_labelled(
    train: Path | str, test: Path | str | None = None, format: str = "auto", seed: int = 0
) -> LabelledSet:
    """Read a labelled set.

    Args:
        train: a set's folder, or a CSV file.
        test: likewise; its own test part is taken, or all of it when it has none. None takes the test part of
            ``train``, and where that has none, a share of its images, class by class (by whole patients where they
            are known): a fifth, or four fifths of RESISC45.
        format: see `SetFormat`; "auto" decides by the files present.
        seed: of the split.

    Raises:
        OutOfRange: no such format.
        InvalidLabelledSet, LabelledImagesMissing, PathOutsideFolder, NoImages: the files are not as the format asks.
        LabelsRequired: no labels, or fewer than two classes.
        UnknownClasses: test classes that the training part lacks.
        LabelKindsDiffer: one part has one label an image, the other any number.
        ClassTooSmall: a class has too few images to be split.
    """
    kind = choose(SetFormat, "format", format)
    found, (first, second) = _read(Path(train), kind)
    if test is not None:
        _, (whole, own) = _read(Path(test), kind)
        second = whole if own is None else own
    first = first.without_empty_classes()
    check_classes(first)
    if second is None:
        share = _RESISC45_TEST_SHARE if found is SetFormat.RESISC45 else _TEST_SHARE
        first, second = split_off(first, share, seed)
    if first.multi_label != second.multi_label:
        raise LabelKindsDiffer(first.source, second.source, first.multi_label)
    return LabelledSet(found, first, second.numbered_by(first.classes))


def detect_format(path: Path) -> SetFormat:
    """The format of a set by the files present: the more particular first, class folders last."""
    if path.is_file():
        return SetFormat.CSV
    signs: tuple[tuple[SetFormat, object], ...] = (
        (SetFormat.CIFAR_100, cifar_folder(path)),
        (SetFormat.CHESTX_RAY14, chestx_entries(path)),
        (SetFormat.INATURALIST_2019, (path / "train2019.json").is_file()),
        (SetFormat.IMAGENET, imagenet_root(path)),
        (SetFormat.RESISC45, resisc45_tree(path)),
        (SetFormat.CSV, (path / "train.csv").is_file()),
    )
    return next((kind for kind, sign in signs if sign), SetFormat.FOLDERS)


def _read(path: Path, kind: SetFormat) -> tuple[SetFormat, Parts]:
    if not path.exists():
        raise NoImages(str(path))
    found = detect_format(path) if kind is SetFormat.AUTO else kind
    if path.is_file() and found is not SetFormat.CSV:
        raise InvalidLabelledSet(str(path), f"it is a file, and {found.value} is a folder's format")
    readers: dict[SetFormat, Callable[[Path], Parts]] = {
        SetFormat.FOLDERS: read_folders,
        SetFormat.IMAGENET: read_imagenet,
        SetFormat.CIFAR_100: read_cifar_100,
        SetFormat.CHESTX_RAY14: read_chestx_ray14,
        SetFormat.INATURALIST_2019: read_inaturalist_2019,
        SetFormat.RESISC45: read_resisc45,
        SetFormat.CSV: _read_listings,
    }
    return found, readers[found](path)


def _read_listings(path: Path) -> Parts:
    """One CSV, or a folder's ``train.csv`` with its ``test.csv`` (or ``val.csv``) where there is one."""
    if path.is_file():
        return read_csv(path), None
    if not (path / "train.csv").is_file():
        raise InvalidLabelledSet(str(path), "a folder in CSV format has a train.csv; or give the CSV itself")
    tests = [path / name for name in _TEST_LISTINGS if (path / name).is_file()]
    return read_csv(path / "train.csv"), read_csv(tests[0]) if tests else None
