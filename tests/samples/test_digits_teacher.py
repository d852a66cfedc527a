import json
import math
from pathlib import Path

import pytest
import torch

from samples.digits import CLASS_NAMES, DigitsFolders, load_part, write_digits
from samples.train_digits_teacher import (
    DEFAULT_FOLDER,
    Recipe,
    accuracy,
    augment,
    build_model,
    save,
    to_tensors,
    train,
)
from wecolora import copy_weights, linear_probe, load_teacher, select_blocks


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitsFolders:
    return write_digits(tmp_path_factory.mktemp("digits"))


def test_committed_weights_are_small() -> None:
    assert (DEFAULT_FOLDER / "model.safetensors").stat().st_size < 2_000_000


def test_a_linear_probe_of_the_committed_teacher_is_above_95_percent(digits: DigitsFolders) -> None:
    assert linear_probe(DEFAULT_FOLDER, digits.train, digits.test).accuracy > 0.95


def test_the_committed_head_knows_the_held_out_digits() -> None:
    assert accuracy(load_teacher(str(DEFAULT_FOLDER)), load_part("test")) > 0.97


def test_copying_half_of_the_blocks_untrained_hurts_visibly(digits: DigitsFolders) -> None:
    copied = copy_weights(load_teacher(str(DEFAULT_FOLDER)), select_blocks(12, 2))
    assert linear_probe(copied, digits.train, digits.test).accuracy < 0.92


def test_the_folder_is_a_timm_folder_with_head_and_class_names() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(f"local-dir:{DEFAULT_FOLDER}", pretrained=True)
    assert (len(model.blocks), model.embed_dim, model.num_classes) == (12, 56, 10)
    assert model.patch_embed.img_size == (32, 32)
    config = json.loads((DEFAULT_FOLDER / "config.json").read_text())
    assert config["label_names"] == list(CLASS_NAMES)


def test_the_script_trains_and_saves_what_timm_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model()
    losses = [epoch.loss for epoch in train(model, Recipe(epochs=3))]
    assert losses[-1] < losses[0] < math.log(10) + 0.5
    logits = model(to_tensors(load_part("test"))[0][:4])
    save(model, tmp_path)
    loaded = load_teacher(str(tmp_path))
    assert torch.allclose(loaded(to_tensors(load_part("test"))[0][:4]), logits, atol=1e-6)


def test_augmentation_changes_images_by_the_generator_alone() -> None:
    images, _ = to_tensors(load_part("test"))
    once, again = (augment(images[:8], Recipe(), torch.Generator().manual_seed(3)) for _ in range(2))
    other = augment(images[:8], Recipe(), torch.Generator().manual_seed(4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_without_ranges_augmentation_changes_nothing() -> None:
    images, _ = to_tensors(load_part("test"))
    still = Recipe(max_rotation_degrees=0, max_log_scale=0, max_shear=0, max_shift=0, noise=0)
    assert torch.allclose(augment(images[:8], still, torch.Generator()), images[:8], atol=1e-5)
