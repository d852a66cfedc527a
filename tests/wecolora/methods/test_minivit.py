"""Weight multiplexing."""

import json
import shutil

import pytest
import timm
import torch

import wecolora
from tests.wecolora.conftest import SHAPE, make_teacher
from tests.wecolora.methods.baselines import (
    check_micro_batches_change_rounding_only,
    check_refused_by_name,
    check_stopped_and_resumed,
    check_the_seed_alone_decides,
    distil,
    gives_the_same_features,
    headless,
)
from wecolora import errors
from wecolora.methods.minivit import attention_relation_loss, check_minivit, hidden_relation_loss


def test_the_delivered_folder_loads_as_the_student_that_was_trained(teacher, images, tmp_path):
    result = distil("minivit", teacher, images, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "student").iterdir()} == {
        "config.json",
        "model.safetensors",
    }
    loaded = wecolora.load_student(tmp_path / "out" / "student")
    assert gives_the_same_features(loaded, result.student)
    assert len(loaded.blocks) == 3
    assert [len(block.uses) for block in loaded.blocks] == [2, 2, 2]
    assert tuple(loaded.pretrained_cfg["mean"]) == tuple(teacher.pretrained_cfg["mean"])
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_timm_does_not_load_it_as_something_else(teacher, images, tmp_path):
    distil("minivit", teacher, images, tmp_path / "out", epochs=1)
    with pytest.raises(RuntimeError):
        timm.create_model(f"local-dir:{tmp_path / 'out' / 'student'}", pretrained=True)


def test_students_of_other_methods_load_with_the_same_line(teacher, images, tmp_path):
    result = distil("weco", teacher, images, tmp_path / "out")
    assert gives_the_same_features(wecolora.load_student(tmp_path / "out" / "student"), result.student)


def test_blocks_used_once_are_the_teacher(teacher, images, tmp_path):
    student = distil(
        "minivit", teacher, images, tmp_path / "out", compression_factor=1, epochs=1, learning_rate=1e-12
    ).student
    views = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(student(views), teacher(views), rtol=1e-4, atol=1e-4)


def test_every_use_keeps_the_norms_of_the_block_that_it_stands_for(teacher, images, tmp_path):
    student = distil("minivit", teacher, images, tmp_path / "out", epochs=1, learning_rate=1e-12).student
    used = [use for block in student.blocks for use in block.uses]
    pairs = [(use.norm1.weight, block.norm1.weight) for use, block in zip(used, teacher.blocks, strict=True)]
    pairs += [(use.norm2.bias, block.norm2.bias) for use, block in zip(used, teacher.blocks, strict=True)]
    for block, kept in zip(student.blocks, (1, 3, 5), strict=True):
        pairs.append((block.attn.qkv.weight, teacher.blocks[kept].attn.qkv.weight))
        pairs.append((block.mlp.fc2.weight, teacher.blocks[kept].mlp.fc2.weight))
    for ours, theirs in pairs:  # one step at a rate of 1e-12 was made
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9, check_stride=False)


@pytest.mark.parametrize(
    ("options", "uses"),
    [
        ({"compression_factor": 4}, [6]),
        ({"compression_factor": 2, "policy": "first-of-group"}, [2, 2, 2]),
        ({"layers": (1, 4)}, [2, 4]),
    ],
)
def test_groups_cover_the_whole_depth(teacher, images, tmp_path, options, uses):
    result = distil("minivit", teacher, images, tmp_path / "out", epochs=1, **options)
    assert [len(block.uses) for block in wecolora.load_student(tmp_path / "out" / "student").blocks] == uses
    assert result.report["training"]["final_loss"] > 0


@pytest.mark.parametrize("classes", [5, 0])
def test_training_lowers_the_loss(images, tmp_path, classes):
    teacher = make_teacher(depth=6, img_size=32, patch_size=8, num_classes=classes, **SHAPE)
    training = distil("minivit", teacher, images, tmp_path / "out", epochs=8).report["training"]
    assert training["final_loss"] < 0.8 * training["initial_loss"]


def test_it_saves_parameters_and_no_arithmetic(teacher, images, tmp_path):
    report = distil("minivit", teacher, images, tmp_path / "out").report
    student = report["student"]
    assert report["method"] == "minivit"
    assert student["parameters"] < 0.6 * report["teacher"]["parameters"]
    assert student["trainable_parameters"] == student["parameters"]
    assert student["gmacs"] >= report["teacher"]["gmacs"]
    assert student["gmacs_unmerged"] == student["gmacs"]
    assert "wecolora.load_student" in student["delivered"]


def test_its_features_can_be_probed(teacher, images, tmp_path):
    distil("minivit", teacher, images, tmp_path / "out", epochs=1)
    student = wecolora.load_student(tmp_path / "out" / "student")
    features = wecolora.extract_features(student, sorted(images.iterdir())[:3], "cpu")
    assert features.shape == (3, 48)


def test_the_same_seed_gives_the_same_student(teacher, images, tmp_path):
    check_the_seed_alone_decides("minivit", teacher, images, tmp_path)


def test_a_stopped_run_ends_with_the_same_student(images, tmp_path):
    check_stopped_and_resumed("minivit", headless("vit_small_patch14_reg4_dinov2"), images, tmp_path)


def test_relations_do_not_depend_on_the_micro_batch(teacher, images, tmp_path):
    check_micro_batches_change_rounding_only("minivit", teacher, images, tmp_path)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("eva02_tiny_patch14_224", "not for Eva"),
        ("vit_tiny_patch16_224", "its blocks"),
    ],
)
def test_networks_with_other_attention_are_refused(tmp_path, architecture, reason):
    arguments = {"block_fn": timm.models.vision_transformer.ResPostBlock, "init_values": 1e-5}
    more = arguments if architecture.startswith("vit") else {}
    odd = make_teacher(architecture, depth=2, img_size=32, patch_size=8, num_classes=0, **SHAPE, **more)
    with pytest.raises(errors.MethodDoesNotFit, match=reason):
        check_minivit(odd)


def test_a_network_without_plain_attention_is_refused(tmp_path):
    beit = make_teacher("beit_base_patch16_224", depth=4, img_size=32, patch_size=8, **SHAPE)
    check_refused_by_name("minivit", beit, tmp_path, "not for Beit")


def test_a_damaged_folder_is_refused_by_name(teacher, images, tmp_path):
    distil("minivit", teacher, images, tmp_path / "out", epochs=1)
    folder = tmp_path / "out" / "student"
    config = json.loads((folder / "config.json").read_text())
    for change in (
        {"multiplexed_uses": [2, 2]},
        {"multiplexed_uses": [3, 2, 2]},
        {"architecture": "nothing"},
    ):
        broken = shutil.copytree(folder, tmp_path / "broken", dirs_exist_ok=True)
        (broken / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(errors.InvalidCheckpoint):
            wecolora.load_student(broken)


def test_relations_ignore_what_they_should_and_see_the_rest():
    torch.manual_seed(0)
    stacked, hidden = torch.randn(2, 5, 3 * 12), torch.randn(2, 5, 12)
    assert attention_relation_loss(stacked, stacked, 3) == pytest.approx(0, abs=1e-6)
    assert attention_relation_loss(stacked, stacked.flip(-1), 3) > 0.01
    rotation = torch.linalg.qr(torch.randn(12, 12)).Q
    # Relations are between tokens: a common rotation, and the tokens' lengths, do not change their cosines.
    assert hidden_relation_loss(3 * hidden @ rotation, hidden) == pytest.approx(0, abs=1e-6)
    assert hidden_relation_loss(hidden.flip(1), hidden) > 0.1
