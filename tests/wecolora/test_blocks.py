"""Block choice and weight copy (Algorithm 1, steps 2 to 4)."""

import copy

import pytest
import torch
from torch import nn

from tests.wecolora.conftest import SHAPE, make_teacher
from wecolora import copy_weights, errors, select_blocks


@pytest.mark.parametrize("depth", range(1, 41))
def test_depth_and_blocks_follow_the_paper_for_every_depth_and_factor(depth):
    for factor in range(1, depth + 1):
        # Paper: block r·l counted from 1, for l = 1 … floor(L / r).
        expected = [factor * number - 1 for number in range(1, depth // factor + 1)]
        assert list(select_blocks(depth, factor)) == expected


def test_the_last_block_is_kept_when_the_factor_divides_the_depth():
    assert select_blocks(12, 2) == (1, 3, 5, 7, 9, 11)
    assert select_blocks(12, 3) == (2, 5, 8, 11)


def test_first_of_group_keeps_block_zero_and_has_the_same_depth():
    assert select_blocks(12, 2, "first-of-group") == (0, 2, 4, 6, 8, 10)
    assert select_blocks(13, 3, "first-of-group") == (0, 3, 6, 9)
    assert len(select_blocks(13, 3)) == 4


@pytest.mark.parametrize("factor", [0, -1, 13])
def test_a_factor_outside_the_depth_is_refused_with_the_range(factor):
    with pytest.raises(errors.OutOfRange, match=r"r is .*from 1 to 12") as caught:
        select_blocks(12, factor)
    assert caught.value.field == "r"


def test_an_unknown_policy_is_refused_with_the_choices():
    with pytest.raises(errors.OutOfRange, match="last-of-group or first-of-group"):
        select_blocks(12, 2, "middle")


@pytest.mark.parametrize("layers", [[], [0, 0], [3, 1], [-1, 2], [0, 6]])
def test_a_list_of_blocks_that_is_not_ascending_or_leaves_the_teacher_is_refused(teacher, layers):
    with pytest.raises(errors.OutOfRange, match="from 0 to 5"):
        copy_weights(teacher, layers)


def test_the_student_holds_the_chosen_blocks_and_everything_around_them(teacher):
    student = copy_weights(teacher, [1, 4])
    theirs = teacher.state_dict()
    for name, tensor in student.state_dict().items():
        source = name.replace("blocks.0.", "blocks.1.") if name.startswith("blocks.0.") else name
        source = name.replace("blocks.1.", "blocks.4.") if name.startswith("blocks.1.") else source
        assert torch.equal(tensor, theirs[source]), name
    assert len(student.blocks) == 2


def test_the_student_shares_nothing_with_the_teacher_and_leaves_it_as_it_was(teacher):
    before = copy.deepcopy(teacher.state_dict())
    student = copy_weights(teacher, [0, 5])
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    after = teacher.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_teacher_is_whole_again_when_copying_fails(teacher, monkeypatch):
    monkeypatch.setattr("wecolora.blocks.copy.deepcopy", lambda module: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        copy_weights(teacher, [0])
    assert len(teacher.blocks) == 6


def test_mixed_rotary_frequencies_follow_their_blocks():
    teacher = make_teacher("vit_small_patch16_rope_mixed_224", img_size=32, depth=5, **SHAPE)
    student = copy_weights(teacher, [1, 3])
    images = torch.randn(2, 3, 32, 32)
    # The reference is the teacher itself with the other blocks turned into identities.
    skipped = copy.deepcopy(teacher)
    for index in (0, 2, 4):
        skipped.blocks[index] = _Identity()
    with torch.no_grad():
        assert torch.equal(student.forward_features(images), skipped.forward_features(images))


class _Identity(nn.Module):
    def forward(self, x, **_):
        return x
