"""Distillation through a distillation token and the teacher's pseudo-labels."""

import numpy as np
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
from wecolora.config import PseudoLabels
from wecolora.images import PlainImages
from wecolora.methods.deit import DistillationTokenObjective, check_deit
from wecolora.methods.prototypes import count_clusters, find_prototypes
from wecolora.teachers import preprocessing_of


@pytest.fixture
def self_supervised():
    return headless()


def test_the_student_is_a_timm_folder_of_half_the_depth_with_one_more_token(teacher, images, tmp_path):
    result = distil("deit", teacher, images, tmp_path / "out")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out' / 'student'}", pretrained=True).eval()
    assert len(loaded.blocks) == 3
    assert loaded.num_reg_tokens == 1
    assert gives_the_same_features(loaded, result.student)
    assert tuple(loaded.pretrained_cfg["mean"]) == tuple(teacher.pretrained_cfg["mean"])


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_training_lowers_the_loss(teacher, images, tmp_path, labels):
    training = distil("deit", teacher, images, tmp_path / "out", epochs=8, pseudo_labels=labels).report[
        "training"
    ]
    assert training["final_loss"] < 0.75 * training["initial_loss"]


def test_the_class_head_learns_the_teachers_decisions(teacher, images, tmp_path):
    student = distil("deit", teacher, images, tmp_path / "out", epochs=30, smallest_crop=1.0).student.eval()
    views = torch.stack([_plain(teacher, path) for path in sorted(images.iterdir())])
    with torch.no_grad():
        decisions = teacher(views).argmax(1)
        agreement = (student(views).argmax(1) == decisions).float().mean()
    assert agreement > decisions.bincount().max() / len(decisions)  # better than one answer for all


def _plain(model, path):
    return PlainImages([path], preprocessing_of(model))[0]


def test_the_report_says_what_was_trained_and_what_it_costs(teacher, images, tmp_path):
    report = distil("deit", teacher, images, tmp_path / "out").report
    student = report["student"]
    assert report["method"] == "deit"
    assert student["trainable_parameters"] == student["parameters"] + 48 * 5 + 5  # and the distillation head
    assert student["gmacs"] < 0.6 * report["teacher"]["gmacs"]
    assert "distillation token" in student["delivered"]


def test_the_same_seed_gives_the_same_student(teacher, images, tmp_path):
    check_the_seed_alone_decides("deit", teacher, images, tmp_path)


def test_a_stopped_run_ends_with_the_same_student(teacher, images, tmp_path):
    check_stopped_and_resumed("deit", teacher, images, tmp_path, pseudo_labels="soft")


def test_a_stopped_run_keeps_its_pseudo_classes(self_supervised, images, tmp_path):
    check_stopped_and_resumed("deit", self_supervised, images, tmp_path)


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_pseudo_labels_do_not_depend_on_the_micro_batch(self_supervised, images, tmp_path, labels):
    check_micro_batches_change_rounding_only("deit", self_supervised, images, tmp_path, pseudo_labels=labels)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("vit_small_patch14_dinov2", {}),
        ("vit_small_patch14_reg4_dinov2", {}),
        ("vit_base_patch16_siglip_224", {}),
        ("vit_base_patch16_siglip_gap_224", {}),
        ("eva02_tiny_patch14_224", {}),
    ],
)
def test_teachers_without_classes_are_clustered(architecture, arguments, images, tmp_path):
    teacher = headless(architecture, **arguments)
    result = distil("deit", teacher, images, tmp_path / "out", learning_rate=3e-3, epochs=6)
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out' / 'student'}", pretrained=True)
    assert loaded.num_prefix_tokens == teacher.num_prefix_tokens + 1
    assert gives_the_same_features(loaded, result.student, size=28)
    assert result.report["training"]["final_loss"] < result.report["training"]["initial_loss"]


def test_one_image_of_a_teacher_without_classes_is_refused(self_supervised, tmp_path):
    with pytest.raises(errors.TooFewImagesToCluster, match="at least 2"):
        distil("deit", self_supervised, write_images(tmp_path / "one", 1), tmp_path / "out")


def test_a_network_without_room_for_a_token_is_refused(tmp_path):
    beit = make_teacher("beit_base_patch16_224", depth=4, img_size=32, patch_size=8, **SHAPE)
    check_refused_by_name("deit", beit, tmp_path, "Beit takes no further token")
    with pytest.raises(errors.MethodDoesNotFit):
        check_deit(make_teacher("deit_tiny_distilled_patch16_224", depth=2, img_size=32, **SHAPE))


def test_well_separated_features_become_their_own_pseudo_classes():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(4, 16)) * 5
    truth = np.arange(80) % 4
    # What all images share must not count.
    features = (100 + means[truth] + generator.normal(size=(80, 16)) * 0.3).astype(np.float32)
    prototypes = find_prototypes(features, 4, seed=0)
    found = prototypes(torch.from_numpy(features)).argmax(1).numpy()
    assert len({(a, b) for a, b in zip(truth, found, strict=True)}) == 4
    assert len(set(found)) == 4


def test_copies_of_one_image_are_clustered_without_a_warning():
    features = np.repeat(np.random.default_rng(1).normal(size=(2, 8)), 10, axis=0).astype(np.float32)
    prototypes = find_prototypes(features, 5, seed=0)
    assert len(prototypes(torch.from_numpy(features)).argmax(1).unique()) == 2


@pytest.mark.parametrize(("images", "clusters"), [(2, 2), (100, 10), (1000, 100), (50_000, 1000)])
def test_ten_images_make_a_pseudo_class(images, clusters):
    assert count_clusters(images) == clusters


def test_the_losses_are_those_of_the_paper():
    """Against the formulas written out, with a student that is its own heads' input."""
    torch.manual_seed(0)
    by_class, by_token, theirs = torch.randn(3, 6, 4).double().unbind(0)
    y = theirs.argmax(1)

    def log_softmax(logits, tau=1.0):
        scaled = logits / tau
        return scaled - scaled.exp().sum(1, keepdim=True).log()

    rows = torch.arange(6)
    entropies = [-log_softmax(logits)[rows, y].mean() for logits in (by_class, by_token)]
    teacher = log_softmax(theirs, 3.0)
    divergence = (teacher.exp() * (teacher - log_softmax(by_token, 3.0))).sum(1).mean()

    class Fixed(DistillationTokenObjective):
        def _predict(self, images):
            return by_class, by_token

    def loss(labels, target):
        return Fixed(labels, None, None, torch.nn.Linear(1, 1)).loss(torch.empty(0), [], (target,))

    assert loss(PseudoLabels.HARD, y.float()) == pytest.approx(float(sum(entropies) / 2))
    assert loss(PseudoLabels.SOFT, theirs) == pytest.approx(float(0.9 * entropies[0] + 0.1 * 9 * divergence))
