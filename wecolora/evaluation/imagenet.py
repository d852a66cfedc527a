"""ImageNet-1K: synset folders for training, and the validation images with their classes in one of three ways.

- ``val/SYNSET/…``, as most people sort it;
- ``val/*.JPEG`` flat, as the publisher's archive unpacks, with the devkit (``ILSVRC2012_devkit_t12``) beside it;
- ``ILSVRC/Data/CLS-LOC/{train,val}`` with ``LOC_val_solution.csv``, as Kaggle hands it out for the publisher.
"""

import csv
import re
from pathlib import Path

from wecolora.errors import InvalidLabelledSet
from wecolora.evaluation.folders import read_class_folders, subfolders
from wecolora.evaluation.labelled import LabelledImages, single_label
from wecolora.evaluation.listings import locate

_SYNSET = re.compile(r"n\d{8}")
_KAGGLE = Path("ILSVRC", "Data", "CLS-LOC")
_DEVKIT = Path("ILSVRC2012_devkit_t12", "data")
_SOLUTION = "LOC_val_solution.csv"


def imagenet_root(folder: Path) -> Path | None:
    """The folder with ``train/`` and ``val/``, where the former holds synset folders only; else None."""
    for root in (folder, folder / _KAGGLE):
        names = subfolders(root / "train")
        if names and all(_SYNSET.fullmatch(name) for name in names) and (root / "val").is_dir():
            return root
    return None


def read_imagenet(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """Read the training part, and the validation part as the test part.

    Raises:
        InvalidLabelledSet: a part is lacking, or flat validation images come without their classes.
        LabelledImagesMissing: a solution names images that are not there.
    """
    root = imagenet_root(folder)
    if root is None:
        raise InvalidLabelledSet(
            str(folder), "ImageNet-1K has train/ with folders named by synset (n01440764, …), and val/"
        )
    train = read_class_folders(root / "train")
    if subfolders(root / "val"):
        return train, read_class_folders(root / "val")
    for place in (folder, root):
        if (place / _SOLUTION).is_file():
            return train, _by_solution(place / _SOLUTION, root / "val")
        if (place / _DEVKIT).is_dir():
            return train, _by_devkit(place / _DEVKIT, root / "val")
    raise InvalidLabelledSet(
        str(root / "val"),
        f"its images lie flat and nothing says their classes: put {_DEVKIT.parts[0]} or {_SOLUTION} beside it, "
        "or sort them into synset folders",
    )


def _by_solution(solution: Path, images: Path) -> LabelledImages:
    """Kaggle's rows: ``ImageId,PredictionString``, the latter a synset and a box for every object."""
    with solution.open(newline="", encoding="utf-8") as lines:
        try:
            rows = [(row["ImageId"], row["PredictionString"].split()[0]) for row in csv.DictReader(lines)]
        except (KeyError, IndexError, AttributeError, csv.Error, UnicodeDecodeError) as error:
            raise InvalidLabelledSet(
                str(solution), "a row is not an image and its synset (ImageId,PredictionString)"
            ) from error
    paths = locate(images, [f"{name}.JPEG" for name, _ in rows], solution)
    return single_label(images, paths, [synset for _, synset in rows])


def _by_devkit(devkit: Path, images: Path) -> LabelledImages:
    """The devkit's truth: line i is the number of validation image i's synset, which meta.mat names."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    truth = devkit / "ILSVRC2012_validation_ground_truth.txt"
    try:
        numbers = [int(line) for line in truth.read_text().split()]
        synsets = loadmat(devkit / "meta.mat", squeeze_me=True)["synsets"]
        names = {int(each["ILSVRC2012_ID"]): str(each["WNID"]) for each in synsets}
        labels = [names[number] for number in numbers]
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise InvalidLabelledSet(
            str(devkit), f"it lacks a readable {truth.name} and meta.mat ({type(error).__name__}: {error})"
        ) from error
    listed = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, len(labels) + 1)]
    return single_label(images, locate(images, listed, truth), labels)
