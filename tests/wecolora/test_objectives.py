"""What the token objective computes, by hand."""

import pytest
import torch

from wecolora import copy_weights
from wecolora.config import DistillConfig
from wecolora.losses import TokenReader
from wecolora.objectives import TokenObjective

KEYS = [(0, 0), (0, 1)]


@pytest.fixture
def networks(teacher):
    return copy_weights(teacher, (1, 3, 5)), teacher, torch.randn(2, 3, 32, 32)


def loss_of(networks, **options):
    student, teacher, images = networks
    objective = TokenObjective(DistillConfig(recipe="paper", **options), group_ends=(1, 3))
    with torch.no_grad(), objective.attached(student, teacher):
        return float(objective.loss(images, KEYS, objective.targets(images, KEYS)))


def tokens_of(model, images, place="before-norm"):
    with torch.no_grad(), TokenReader(model, place).attached() as read:
        return read(images)


def test_all_tokens_count_alike_by_default(networks):
    student, teacher, images = networks
    expected = (tokens_of(student, images) - tokens_of(teacher, images)).abs().mean()
    assert loss_of(networks) == pytest.approx(float(expected), rel=1e-5)


def test_a_class_token_of_its_own_weight_is_added_to_the_mean_of_the_others(networks):
    student, teacher, images = networks
    distances = (tokens_of(student, images) - tokens_of(teacher, images)).abs().mean(dim=-1)
    expected = distances[:, 1:].mean() + 3 * distances[:, 0].mean()
    assert loss_of(networks, cls_weight=3.0) == pytest.approx(float(expected), rel=1e-5)


def test_inner_blocks_are_compared_with_the_ends_of_their_groups(networks):
    student, teacher, images = networks
    with torch.no_grad(), TokenReader(student, blocks=(0, 1)).attached() as ours:
        inner = ours.read(images).blocks
    with torch.no_grad(), TokenReader(teacher, blocks=(1, 3)).attached() as theirs:
        wanted = theirs.read(images).blocks
    added = sum((one - other).abs().mean() for one, other in zip(inner, wanted, strict=True)) / 2
    expected = loss_of(networks) + 0.5 * float(added)
    assert loss_of(networks, block_weight=0.5) == pytest.approx(expected, rel=1e-5)


def test_after_the_norm_the_networks_own_norms_count(networks):
    student, teacher, images = networks
    expected = (
        (tokens_of(student, images, "after-norm") - tokens_of(teacher, images, "after-norm")).abs().mean()
    )
    assert loss_of(networks, loss_place="after-norm") == pytest.approx(float(expected), rel=1e-5)


def test_normalised_targets_do_not_see_the_scale_of_the_tokens(networks):
    student, teacher, images = networks
    before = loss_of(networks, normalise_targets=True)
    with torch.no_grad():  # the stream of a pre-norm network grows by what its last block adds
        ours, theirs = (
            torch.nn.functional.layer_norm(tokens_of(model, images), (48,)) for model in (student, teacher)
        )
    assert before == pytest.approx(float((ours - theirs).abs().mean()), rel=1e-5)


def test_the_cosine_is_one_less_the_similarity(networks):
    student, teacher, images = networks
    similarity = torch.nn.functional.cosine_similarity(
        tokens_of(student, images), tokens_of(teacher, images), dim=-1
    )
    assert loss_of(networks, loss="cosine") == pytest.approx(float(1 - similarity.mean()), rel=1e-4)
