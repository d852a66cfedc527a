"""Masked reconstruction with feature alignment."""

import pytest
import timm
import torch

from tests.wecolora.conftest import SHAPE, make_teacher, write_images
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
from wecolora.cost import count_gmacs
from wecolora.methods.dmae import MaskedAutoencoder, MaskedObjective, aligned_block, check_dmae, count_visible
from wecolora.methods.masking import cut_into_patches, draw_masks, encode_visible, normalise_patches


def test_the_student_is_a_timm_folder_of_half_the_depth(teacher, images, tmp_path):
    result = distil("dmae", teacher, images, tmp_path / "out")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out' / 'student'}", pretrained=True)
    assert len(loaded.blocks) == 3
    assert gives_the_same_features(loaded, result.student)
    assert tuple(loaded.pretrained_cfg["mean"]) == tuple(teacher.pretrained_cfg["mean"])


@pytest.mark.parametrize(
    "architecture",
    [
        "vit_small_patch14_dinov2",
        "vit_small_patch14_reg4_dinov2",
        "vit_base_patch16_siglip_gap_224",
        "eva02_tiny_patch14_224",
    ],
)
def test_training_lowers_the_loss(architecture, images, tmp_path):
    teacher = headless(architecture)
    training = distil("dmae", teacher, images, tmp_path / "out", epochs=8).report["training"]
    assert training["final_loss"] < 0.8 * training["initial_loss"]


def test_the_report_says_what_was_trained_and_what_it_costs(teacher, images, tmp_path):
    report = distil("dmae", teacher, images, tmp_path / "out").report
    assert report["method"] == "dmae"
    assert (
        report["student"]["trainable_parameters"] > report["student"]["parameters"]
    )  # decoder and projection
    assert report["student"]["gmacs"] < 0.6 * report["teacher"]["gmacs"]


def test_a_step_costs_the_visible_patches_and_the_decoder(teacher):
    student = make_teacher(depth=3, img_size=32, patch_size=8, num_classes=5, **SHAPE)
    costs = [
        count_gmacs(MaskedAutoencoder(student, MaskedObjective(student, 6, ratio, 0)))
        for ratio in (0.25, 0.75)
    ]
    assert costs[1] < costs[0]
    assert costs[1] > count_gmacs(student) * 0.25


def test_the_same_seed_gives_the_same_student(teacher, images, tmp_path):
    check_the_seed_alone_decides("dmae", teacher, images, tmp_path)


def test_a_stopped_run_ends_with_the_same_student(images, tmp_path):
    check_stopped_and_resumed("dmae", headless(), images, tmp_path)


def test_masks_do_not_depend_on_the_micro_batch(teacher, images, tmp_path):
    check_micro_batches_change_rounding_only("dmae", teacher, images, tmp_path)


def test_masks_are_those_of_their_view(teacher):
    keep, masked = draw_masks([(0, 1), (0, 2), (1, 1)], seed=0, patches=16, visible=4)
    again, _ = draw_masks([(1, 1), (0, 1)], seed=0, patches=16, visible=4)
    assert torch.equal(again, keep[[2, 0]])
    assert not torch.equal(keep[0], keep[1])
    assert not torch.equal(keep[0], keep[2])
    assert not torch.equal(draw_masks([(0, 1)], seed=1, patches=16, visible=4)[0], keep[:1])
    for seen, unseen in zip(keep, masked, strict=True):
        assert sorted([*seen.tolist(), *unseen.tolist()]) == list(range(16))


@pytest.mark.parametrize("architecture", ["vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_masked_patches_are_really_unseen(architecture):
    model = headless(architecture)
    keep, masked = draw_masks([(0, 0)], seed=0, patches=16, visible=4)
    images = torch.randn(1, 3, 28, 28)
    changed = images.clone()
    for patch in masked[0].tolist():
        row, column = divmod(patch, 4)
        changed[:, :, 7 * row : 7 * row + 7, 7 * column : 7 * column + 7] += 1
    with torch.no_grad():
        inner, tokens = encode_visible(model, images, keep, 1)
        assert torch.equal(encode_visible(model, changed, keep, 1)[1], tokens)
        assert tokens.shape == (1, model.num_prefix_tokens + 4, 48)
        # All patches seen: nothing but the model itself; and the model is left as it was.
        everything = torch.arange(16)[None]
        whole = encode_visible(model, images, everything, 1)[1]
        normed = model.fc_norm(model.forward_features(images))
        torch.testing.assert_close(whole, normed, rtol=1e-4, atol=1e-5)
        stopped, _ = encode_visible(model, images, keep, 1, only_block=True)
        assert torch.equal(stopped, inner)


def test_patches_are_cut_in_the_order_of_the_tokens():
    images = torch.arange(3 * 4 * 4, dtype=torch.float32).reshape(1, 3, 4, 4)
    patches = cut_into_patches(images, (2, 2))
    assert patches.shape == (1, 4, 12)
    assert torch.equal(patches[0, 1].reshape(3, 2, 2), images[0, :, :2, 2:])
    assert torch.equal(patches[0, 2].reshape(3, 2, 2), images[0, :, 2:, :2])
    normal = normalise_patches(patches)
    torch.testing.assert_close(normal.mean(-1), torch.zeros(1, 4), atol=1e-5, rtol=0)
    assert torch.isfinite(normalise_patches(torch.ones(1, 2, 12))).all()


@pytest.mark.parametrize(("depth", "block"), [(24, 17), (12, 8), (6, 4), (4, 2), (1, 0)])
def test_features_are_compared_at_three_quarters(depth, block):
    assert aligned_block(depth) == block


@pytest.mark.parametrize(("ratio", "visible"), [(0.75, 4), (0.5, 8), (0.001, 15), (0.999, 1)])
def test_something_is_seen_and_something_is_masked(ratio, visible):
    assert count_visible(16, ratio) == visible


def test_one_image_is_enough(teacher, tmp_path):
    report = distil(
        "dmae", teacher, write_images(tmp_path / "one", 1), tmp_path / "out", mask_ratio=0.9
    ).report
    assert report["training"]["optimiser_steps"] == 2


def test_networks_without_patches_to_leave_out_are_refused(tmp_path):
    beit = make_teacher("beit_base_patch16_224", depth=4, img_size=32, patch_size=8, **SHAPE)
    check_refused_by_name("dmae", beit, tmp_path, "Beit cannot leave out patches")
    with pytest.raises(errors.MethodDoesNotFit, match="pooled by an attention layer"):
        check_dmae(headless("vit_base_patch16_siglip_224"))
