"""Read classes and splits out of folder names.

- Folders that every image shares are dropped (`photos/cats/1.jpg`, `photos/dogs/2.jpg` becomes cats, dogs).
- First folders that are only split names, at least two of them, are splits (`train/`, `test/`, `val/`).
- Then each image's first folder is its class, when every image has one and there are two or more.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from worker.dataset import Split

Folders = tuple[str, ...]

_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}


@dataclass(frozen=True)
class FolderPlan:
    """How the folders of one dataset are read."""

    dropped: int
    has_splits: bool
    class_names: list[str] | None

    def split_of(self, folders: Folders) -> Split | None:
        """The split of an image, from its folders."""
        return _SPLITS[folders[self.dropped].lower()] if self.has_splits else None

    def class_of(self, folders: Folders) -> str | None:
        """The class of an image, from its folders."""
        return folders[self.dropped + self.has_splits] if self.class_names else None


def folders_of(path: str) -> Folders:
    """The folders of a path inside an archive."""
    return tuple(path.split("/")[:-1])


def plan_folders(folders: Collection[Folders]) -> FolderPlan:
    """Decide what the folders of all images mean.

    Args:
        folders: the distinct folders that hold images.
    """
    dropped = _shared_depth(folders)
    firsts = _names_at(folders, dropped)
    has_splits = (
        firsts is not None
        and all(name.lower() in _SPLITS for name in firsts)
        and len({_SPLITS[name.lower()] for name in firsts}) >= 2
    )
    classes = _names_at(folders, dropped + has_splits)
    if classes is None or len(classes) < 2:
        return FolderPlan(dropped, has_splits, None)
    return FolderPlan(dropped, has_splits, sorted(classes))


def _shared_depth(folders: Iterable[Folders]) -> int:
    depth = 0
    while True:
        names = _names_at(folders, depth)
        if names is None or len(names) != 1:
            return depth
        depth += 1


def _names_at(folders: Iterable[Folders], depth: int) -> set[str] | None:
    """The folder names at one depth, or None when an image lies higher up (or there are no images)."""
    names: set[str] = set()
    for each in folders:
        if len(each) <= depth:
            return None
        names.add(each[depth])
    return names or None
