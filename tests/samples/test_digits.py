import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samples.digits import CLASS_NAMES, DigitsFolders, load_part, write_digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitsFolders:
    return write_digits(tmp_path_factory.mktemp("digits"))


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.png")
    }


def test_no_image_is_in_two_parts(digits: DigitsFolders) -> None:
    for one, other in combinations([digits.train, digits.unlabelled, digits.test], 2):
        assert not set(_files(one).values()) & set(_files(other).values())


def test_the_parts_hold_the_whole_data_set_once(digits: DigitsFolders) -> None:
    counts = [len(_files(folder)) for folder in (digits.train, digits.unlabelled, digits.test)]
    assert counts == [900, 400, 497]
    everything = np.concatenate([load_part(part).indices for part in ("train", "unlabelled", "test")])
    assert sorted(everything) == list(range(1797))


def test_writing_again_gives_the_same_files(digits: DigitsFolders, tmp_path: Path) -> None:
    write_digits(tmp_path)
    assert _files(tmp_path) == _files(digits.train.parent)


def test_labelled_parts_have_a_folder_a_digit_with_images_of_that_digit(digits: DigitsFolders) -> None:
    for folder in (digits.train, digits.test):
        assert sorted(path.name for path in folder.iterdir()) == list(CLASS_NAMES)
    test = load_part("test")
    for number in (0, 100, 496):
        path = digits.test / CLASS_NAMES[test.labels[number]] / f"digit-{number:04d}.png"
        assert np.array_equal(np.asarray(Image.open(path)), test.images[number])


def test_unlabelled_names_do_not_tell_the_class(digits: DigitsFolders) -> None:
    assert {path.name for path in digits.unlabelled.iterdir()} == {f"digit-{n:04d}.png" for n in range(400)}
    # scikit-learn's own order begins 0, 1, 2, … 9, 0, 1, …
    labels = load_part("unlabelled").labels
    assert np.mean(labels == np.arange(400) % 10) < 0.2


def test_images_are_grey_32_pixel_squares_that_use_the_whole_range(digits: DigitsFolders) -> None:
    with Image.open(next(digits.unlabelled.iterdir())) as image:
        assert (image.mode, image.size) == ("L", (32, 32))
    pixels = load_part("train").images
    assert (pixels.min(), pixels.max()) == (0, 255)
