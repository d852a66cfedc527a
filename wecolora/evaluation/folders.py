"""Class folders: any, with or without training and test part, and NWPU-RESISC45's single tree."""

from pathlib import Path

from wecolora.errors import InvalidLabelledSet, LabelsRequired
from wecolora.evaluation.labelled import LabelledImages, single_label
from wecolora.images import find_images

# First that is there; a test part is preferred to a validation part.
_TEST_NAMES = ("test", "val", "valid", "validation")

# The folders of the publisher's archive (Cheng et al., Remote Sensing Image Scene Classification, 2017, Table 2).
RESISC45_CLASSES = frozenset(
    """airplane airport baseball_diamond basketball_court beach bridge chaparral church circular_farmland cloud
    commercial_area dense_residential desert forest freeway golf_course ground_track_field harbor industrial_area
    intersection island lake meadow medium_residential mobile_home_park mountain overpass palace parking_lot railway
    railway_station rectangular_farmland river roundabout runway sea_ice ship snowberg sparse_residential stadium
    storage_tank tennis_court terrace thermal_power_station wetland""".split()  # noqa: SIM905
)


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, hidden ones left out, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def split_folders(folder: Path) -> tuple[Path, Path] | None:
    """Training and test folder of a tree that has both, each with class folders; else None.

    A class that happens to be called "train" holds images, not folders, so it is not mistaken for a part.
    """
    if not subfolders(folder / "train"):
        return None
    for name in _TEST_NAMES:
        if subfolders(folder / name):
            return folder / "train", folder / name
    return None


def read_class_folders(folder: Path) -> LabelledImages:
    """Read ``CLASS/…/image`` files; the class is the first folder's name.

    Raises:
        NoImages: when there are no images.
        LabelsRequired: when images lie outside any class folder.
    """
    paths = find_images(folder)
    loose = [path for path in paths if path.parent == folder]
    if loose:
        raise LabelsRequired(str(folder), f"{loose[0].name} lies outside any class folder")
    depth = len(folder.parts)
    return single_label(folder, paths, [path.parts[depth] for path in paths])


def read_folders(folder: Path) -> tuple[LabelledImages, LabelledImages | None]:
    """Read ``train/CLASS`` and ``test/CLASS`` (or ``val/CLASS``) where they are there, else ``CLASS``."""
    parts = split_folders(folder)
    if parts is None:
        return read_class_folders(folder), None
    return read_class_folders(parts[0]), read_class_folders(parts[1])


def resisc45_tree(folder: Path) -> Path | None:
    """The folder that holds exactly RESISC45's class folders: this one, or the archive's top folder in it."""
    for tree in (folder, folder / "NWPU-RESISC45"):
        if set(subfolders(tree)) == RESISC45_CLASSES:
            return tree
    return None


def read_resisc45(folder: Path) -> tuple[LabelledImages, None]:
    """Read the one tree of class folders that RESISC45 is shipped as (700 images each of 45 scenes).

    Raises:
        InvalidLabelledSet: class folders are lacking, or there are others.
    """
    tree = resisc45_tree(folder)
    if tree is None:
        found = set(subfolders(folder))
        lacking, foreign = sorted(RESISC45_CLASSES - found), sorted(found - RESISC45_CLASSES)
        reason = f"of RESISC45's 45 class folders {len(lacking)} are lacking ({', '.join(lacking[:3])} …)"
        if not lacking:
            reason = f"{foreign[0]!r} is not among RESISC45's 45 class folders"
        raise InvalidLabelledSet(str(folder), f"{reason}; use --format folders for other class folders")
    return read_class_folders(tree), None
