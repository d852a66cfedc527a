"""The linear probe."""

import numpy as np
import pytest
from PIL import Image

from tests.wecolora.conftest import write_images
from wecolora import errors, linear_probe


def write_classes(folder, classes=3, count=12, seed=0):
    """Images whose class is their colour: any network can tell them apart."""
    generator = np.random.default_rng(seed)
    for number in range(classes):
        colour = 255 * np.eye(3)[number % 3] * (1 if number < 3 else 0.4)
        for image in range(count):
            pixels = colour + generator.normal(0, 20, size=(32, 32, 3))
            path = folder / f"class{number}" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return folder


def test_separable_classes_are_told_apart(teacher, tmp_path):
    result = linear_probe(
        teacher, write_classes(tmp_path / "train"), write_classes(tmp_path / "test", seed=1)
    )
    assert result.accuracy == 1.0
    assert (result.classes, result.train_images, result.test_images) == (3, 36, 36)
    assert result.top5 is None


def test_labels_without_meaning_give_chance(teacher, tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            write_images(tmp_path / split / name, 40, seed=hash((split, name)) % 1000)
    result = linear_probe(teacher, tmp_path / "train", tmp_path / "test")
    assert 0.2 < result.accuracy < 0.8


def test_top5_is_reported_for_many_classes(teacher, tmp_path):
    write_classes(tmp_path / "train", classes=6)
    result = linear_probe(teacher, tmp_path / "train", write_classes(tmp_path / "test", classes=6, seed=1))
    assert result.top5 is not None
    assert result.accuracy <= result.top5 <= 1


def test_one_tree_is_split_class_by_class_and_alike_every_time(teacher, tmp_path):
    write_classes(tmp_path / "all", count=10)
    first = linear_probe(teacher, tmp_path / "all", seed=3)
    assert (first.train_images, first.test_images) == (24, 6)
    assert first == linear_probe(teacher, tmp_path / "all", seed=3)


def test_the_probe_leaves_the_model_as_it_was(teacher, tmp_path):
    teacher.train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    linear_probe(teacher, write_classes(tmp_path / "all", count=5))
    assert teacher.training
    assert all(before[name].equal(tensor) for name, tensor in teacher.state_dict().items())


def test_images_outside_class_folders_are_named(teacher, tmp_path):
    write_images(tmp_path, 3)
    with pytest.raises(errors.LabelsRequired, match=r"image000\.png lies outside any class folder"):
        linear_probe(teacher, tmp_path)


def test_one_class_is_refused(teacher, tmp_path):
    with pytest.raises(errors.LabelsRequired, match="1 class"):
        linear_probe(teacher, write_classes(tmp_path / "t", classes=1), tmp_path / "t")


def test_a_test_class_that_was_never_trained_is_named(teacher, tmp_path):
    write_classes(tmp_path / "train", classes=2)
    write_classes(tmp_path / "test", classes=3)
    with pytest.raises(errors.LabelsRequired, match="'class2'"):
        linear_probe(teacher, tmp_path / "train", tmp_path / "test")


def test_a_single_image_a_class_can_be_fitted_but_not_split(teacher, tmp_path):
    train = write_classes(tmp_path / "train", count=1)
    assert linear_probe(teacher, train, write_classes(tmp_path / "test")).held_out_accuracy is None
    with pytest.raises(errors.LabelsRequired, match="single image"):
        linear_probe(teacher, train)
