"""``cifar-100-python`` as Krizhevsky ships it: three pickles of Python 2, ``train``, ``test`` and ``meta``.

A pickle can run code when it is read. These are read by an unpickler that knows four names, those that a numpy array
of plain numbers needs, and refuses any other.
"""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wecolora.errors import InvalidLabelledSet
from wecolora.evaluation.labelled import LabelledImages

FILES = ("train", "test", "meta")
_SIDE = 32
_PLAIN_NUMBERS = re.compile(r"[|<>=]?[biuf]\d{1,2}")


def _bytes_of(text: str, encoding: str) -> bytes:
    # How Python 3 writes bytes into pickles of old protocols: always latin-1, other codecs are not run.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r} is not allowed")
    return text.encode("latin1")


def _empty_array(kind: type, shape: tuple[int, ...], dtype: object) -> np.ndarray:
    # numpy's own function would allocate whatever size the file says; its state, set next, brings shape and data.
    if kind is not np.ndarray or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array is not written as numpy writes it")
    return np.ndarray.__new__(np.ndarray, (0,), dtype=np.uint8)


def _dtype(kind: str | bytes, align: object = False, copy: object = False) -> np.dtype[Any]:
    # Old pickles write 0 and 1 for the last two, which numpy deprecates; object arrays are not of the set.
    name = _text(kind)
    if not _PLAIN_NUMBERS.fullmatch(name):
        raise pickle.UnpicklingError(f"an array of {name!r} is not allowed")
    return np.dtype(name, align=bool(align), copy=bool(copy))


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _bytes_of,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which the set does not need")
        return allowed


def cifar_folder(folder: Path) -> Path | None:
    """The folder with the three files: this one, or the archive's top folder in it; else None."""
    for place in (folder, folder / "cifar-100-python"):
        if all((place / name).is_file() for name in FILES):
            return place
    return None


def read_cifar_100(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """Read the training and test part with their fine labels.

    Returns:
        Both parts; images [n, 32, 32, 3] uint8.

    Raises:
        InvalidLabelledSet: files are lacking, damaged, or hold anything but arrays, lists, text and numbers.
    """
    place = cifar_folder(folder)
    if place is None:
        raise InvalidLabelledSet(str(folder), "cifar-100-python has the files train, test and meta")
    meta = _load(place / "meta")
    names = meta.get("fine_label_names")
    if not isinstance(names, list) or not names:
        raise InvalidLabelledSet(str(place / "meta"), "it has no fine_label_names")
    classes = tuple(_text(name) for name in names)
    return _part(place / "train", classes), _part(place / "test", classes)


def _part(file: Path, classes: tuple[str, ...]) -> LabelledImages:
    content = _load(file)
    pixels, labels = content.get("data"), content.get("fine_labels")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3 * _SIDE**2,):
        raise InvalidLabelledSet(str(file), f"its data is not an array of bytes, {3 * _SIDE**2} an image")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not labels:
        raise InvalidLabelledSet(str(file), "it does not have one fine label for every image")
    if not all(type(label) is int and 0 <= label < len(classes) for label in labels):
        raise InvalidLabelledSet(str(file), f"a fine label is not from 0 to {len(classes) - 1}")
    # A row holds the red channel, then green, then blue, each row by row.
    images = pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return LabelledImages(str(file), np.ascontiguousarray(images), np.asarray(labels, np.int64), classes)


def _load(file: Path) -> dict[str, Any]:
    try:
        content = _ArraysOnly(io.BytesIO(file.read_bytes()), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, MemoryError,
            ImportError, OverflowError) as error:  # fmt: skip
        reason = str(error).rstrip(".") or type(error).__name__
        raise InvalidLabelledSet(str(file), f"it is not a file of cifar-100-python ({reason})") from error
    if not isinstance(content, dict):
        raise InvalidLabelledSet(str(file), "it is not a file of cifar-100-python (it holds no dictionary)")
    return {_text(key): value for key, value in content.items()}


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
