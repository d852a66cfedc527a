"""Sets whose labels stand in a listing: any CSV, ChestX-ray14, iNaturalist 2019."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wecolora.errors import InvalidLabelledSet, LabelledImagesMissing, LabelsRequired, PathOutsideFolder
from wecolora.evaluation.labelled import LabelledImages, multi_label, single_label

# A first cell with one of these names makes the first row of a CSV its header.
_PATH_HEADERS = frozenset({"path", "file", "filename", "file_name", "image", "image_path"})
_SEVERAL_HEADER = "labels"
_NO_FINDING = "No Finding"
_ENTRIES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")


def locate(folder: Path, names: Sequence[str], listing: Path) -> list[Path]:
    """Paths of listed images.

    Args:
        folder: that the names are relative to.
        names: as they are listed.
        listing: the file that names them, for messages.

    Raises:
        PathOutsideFolder: a name leads out of the folder.
        LabelledImagesMissing: images are not there; they are named and counted.
    """
    present: dict[str, set[str]] = {}
    paths, missing = [], []
    for name in names:
        normal = os.path.normpath(name)
        if not name or "\0" in name or os.path.isabs(normal) or normal.split(os.sep)[0] == "..":
            raise PathOutsideFolder(str(listing), name)
        parent, base = os.path.split(normal)
        if parent not in present:
            # One look at every folder instead of one at every image.
            place = folder / parent
            present[parent] = {entry.name for entry in os.scandir(place)} if place.is_dir() else set()
        if base not in present[parent]:
            missing.append(name)
        paths.append(folder / normal)
    if missing:
        raise LabelledImagesMissing(str(listing), missing, len(names))
    return paths


def read_csv(listing: Path) -> LabelledImages:
    """Read rows of ``path,label[|label…]`` (RFC 4180), paths relative to the listing's folder.

    A first row whose first cell is "path", "file" or "image" is a header. Images have any number of labels when the
    second header is "labels", or when some row has several labels or none; else exactly one.

    Raises:
        InvalidLabelledSet: a row is not a path and its labels, or an image is listed twice.
        PathOutsideFolder, LabelledImagesMissing: see `locate`.
        LabelsRequired: there are no rows.
    """
    rows, several = _rows_of(listing)
    names = [name for name, _ in rows]
    labels = [[label for part in text.split("|") if (label := part.strip())] for _, text in rows]
    paths = locate(listing.parent, names, listing)
    _refuse_repeated(listing, paths)
    if several or any(len(each) != 1 for each in labels):
        return multi_label(listing, paths, labels)
    return single_label(listing, paths, [each[0] for each in labels])


def _rows_of(listing: Path) -> tuple[list[tuple[str, str]], bool]:
    """Path and labels of each row, and whether the header speaks of several labels."""
    rows: list[tuple[str, str]] = []
    several = False
    for line, cells in _cells(listing):
        if len(cells) != 2:
            raise InvalidLabelledSet(
                str(listing), f"line {line} has {len(cells)} cells, not a path and its labels"
            )
        if not rows and cells[0].strip().lower() in _PATH_HEADERS and line == 1:
            several = cells[1].strip().lower() == _SEVERAL_HEADER
            continue
        rows.append((cells[0].strip(), cells[1]))
    if not rows:
        raise LabelsRequired(str(listing), "it has no rows")
    return rows, several


def _cells(listing: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank."""
    try:
        with listing.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except csv.Error as error:
        raise InvalidLabelledSet(
            str(listing), f"line {reader.line_num} is not comma-separated ({error})"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidLabelledSet(str(listing), "it is not UTF-8 text") from error
    except OSError as error:
        raise InvalidLabelledSet(str(listing), error.strerror or type(error).__name__) from error


def _refuse_repeated(listing: Path, paths: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise InvalidLabelledSet(
                str(listing), f"{path.name} is listed twice; give it one row, its labels joined by '|'"
            )
        seen.add(path)


def chestx_entries(folder: Path) -> Path | None:
    """ChestX-ray14's table of images; else None."""
    return next((folder / name for name in _ENTRIES if (folder / name).is_file()), None)


def read_chestx_ray14(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """Read ChestX-ray14 with its official split by patients (Wang et al., 2017).

    Labels are joined by ``|``; "No Finding" means none. Images lie in ``images/`` (as the publisher's archives
    unpack) or in ``images_001/images/`` … ``images_012/images/`` (Kaggle). Patients become groups, so that no
    patient is on both sides of a split.

    Raises:
        InvalidLabelledSet: a file is lacking or not as published.
        LabelledImagesMissing: images of the split are not there.
    """
    entries = chestx_entries(folder)
    if entries is None:
        raise InvalidLabelledSet(str(folder), f"ChestX-ray14 has a file {_ENTRIES[1]} or {_ENTRIES[0]}")
    found = _table(entries)
    images = _images_by_name(folder)
    parts = []
    for listing in (folder / "train_val_list.txt", folder / "test_list.txt"):
        try:
            names = listing.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidLabelledSet(
                str(listing), "it is lacking or unreadable; ChestX-ray14 is shipped with it"
            ) from error
        if not names:
            raise InvalidLabelledSet(str(listing), "it is empty")
        unknown = [name for name in names if name not in found]
        if unknown:
            raise InvalidLabelledSet(
                str(listing), f"{unknown[0]} and {len(unknown) - 1:,} others are not in {entries.name}"
            )
        missing = [name for name in names if name not in images]
        if missing:
            raise LabelledImagesMissing(str(listing), missing, len(names))
        patients = np.unique([found[name][1] for name in names], return_inverse=True)[1]
        parts.append(
            multi_label(
                listing, [images[name] for name in names], [found[name][0] for name in names], patients
            )
        )
    return parts[0], parts[1]


def _table(entries: Path) -> dict[str, tuple[list[str], str]]:
    """Findings and patient of every image."""
    rows = _cells(entries)
    _, header = next(rows, (0, []))
    try:
        # The header has fewer cells than the rows: two of its names contain a comma. These three come before them.
        image, findings, patient = (
            header.index(name) for name in ("Image Index", "Finding Labels", "Patient ID")
        )
        return {
            row[image]: ([name for name in row[findings].split("|") if name != _NO_FINDING], row[patient])
            for _, row in rows
        }
    except (ValueError, IndexError) as error:
        raise InvalidLabelledSet(
            str(entries), "it does not have the columns Image Index, Finding Labels and Patient ID"
        ) from error


def _images_by_name(folder: Path) -> dict[str, Path]:
    places = [place for place in sorted(folder.glob("images*")) if place.is_dir()]
    places += [place / "images" for place in places if (place / "images").is_dir()]
    return {
        entry.name: place / entry.name
        for place in places
        for entry in os.scandir(place)
        if entry.name.endswith(".png")
    }


def read_inaturalist_2019(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """Read iNaturalist 2019 (``train2019.json``, ``val2019.json``, images in ``train_val2019/``).

    The labels of its own test part are not published; the validation part is the test part here, as in the paper.

    Raises:
        InvalidLabelledSet: a listing is lacking or not as published.
        PathOutsideFolder, LabelledImagesMissing: see `locate`.
    """
    return _coco(folder / "train2019.json"), _coco(folder / "val2019.json")


def _coco(listing: Path) -> LabelledImages:
    try:
        content: dict[str, Any] = json.loads(listing.read_text(encoding="utf-8"))
        files = {image["id"]: str(image["file_name"]) for image in content["images"]}
        named = {each["id"]: str(each["name"]) for each in content["categories"]}
        pairs = {each["image_id"]: each["category_id"] for each in content["annotations"]}
        # Names may be those of several species' genera; the number keeps them apart.
        repeated = len(set(named.values())) < len(named)
        titles = {number: f"{name} ({number})" if repeated else name for number, name in named.items()}
        names = [files[image] for image in pairs]
        labels = [titles[category] for category in pairs.values()]
    except FileNotFoundError as error:
        raise InvalidLabelledSet(
            str(listing), "it is lacking; iNaturalist 2019 has train2019.json and val2019.json"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidLabelledSet(
            str(listing), f"it does not list images, categories and annotations ({error!r})"
        ) from error
    if not names:
        raise LabelsRequired(str(listing), "it has no annotations")
    return single_label(listing, locate(listing.parent, names, listing), labels)
