"""Low-rank pairs and merging (Algorithm 1, steps 5 to 8 and 16)."""

import copy

import pytest
import timm
import torch

import wecolora
from tests.wecolora.conftest import write_images
from wecolora import add_lora, copy_weights, errors, merge_lora, select_blocks
from wecolora.lora import LoRALinear, lora_layers


def test_vit_b16_at_r2_k128_trains_exactly_10616832_parameters():
    with torch.device("meta"):
        teacher = timm.create_model("vit_base_patch16_224")
    layout = wecolora.describe_transformer(teacher)
    assert layout.trainable_parameters(lora_rank=128, blocks=6) == 10_616_832


def test_the_trainable_tensors_of_a_student_are_as_many_as_the_layout_says(teacher):
    student = add_lora(copy_weights(teacher, select_blocks(6, 2)), 8)
    trainable = sum(p.numel() for p in student.parameters() if p.requires_grad)
    assert trainable == wecolora.describe_transformer(teacher).trainable_parameters(8, 3)
    # k·(d_in + d_out) over q, k, v, proj (48×48 each) and fc1, fc2 (48×192): 3 blocks.
    assert trainable == 3 * 8 * (4 * 96 + 2 * 240)


def test_every_matrix_of_every_block_is_adapted_and_a_fused_qkv_has_three_pairs(teacher):
    student = add_lora(copy_weights(teacher, [0, 1]), 8)
    layers = lora_layers(student)
    assert sorted(layers) == sorted(
        f"blocks.{block}.{name}"
        for block in (0, 1)
        for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    )
    qkv = layers["blocks.0.attn.qkv"]
    assert qkv.splits == (48, 48, 48)
    assert qkv.lora_A.shape == (24, 48)
    assert qkv.lora_B.shape == (144, 8)


def test_only_the_pairs_require_gradients(teacher):
    student = add_lora(copy_weights(teacher, [0, 1]), 8)
    names = {name.rsplit(".", 1)[1] for name, p in student.named_parameters() if p.requires_grad}
    assert names == {"lora_A", "lora_B"}


def test_the_fresh_student_equals_the_copied_blocks(teacher):
    student = copy_weights(teacher, [1, 3, 5])
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        before = student.forward_features(images)
        after = add_lora(student, 8).forward_features(images)
    assert torch.equal(before, after)


def test_queries_keys_and_values_are_updated_by_their_own_pairs():
    base = torch.nn.Linear(6, 12)
    layer = LoRALinear(copy.deepcopy(base), lora_rank=2, splits=(4, 4, 4))
    with torch.no_grad():
        layer.lora_A.normal_()
        layer.lora_B.normal_()
        a, b, x = layer.lora_A, layer.lora_B, torch.randn(5, 6)
        # Eq. 1, written out for each of the three.
        expected = base(x) + torch.cat(
            [x @ (b[4 * i : 4 * i + 4] @ a[2 * i : 2 * i + 2]).T for i in range(3)], dim=-1
        )
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            torch.nn.functional.linear(x, layer.weight, layer.bias), expected, rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(layer.merged()(x), expected, rtol=1e-5, atol=1e-5)


def test_the_pairs_start_alike_by_seed_and_leave_the_global_random_state_alone(teacher):
    def first(seed):
        return next(
            iter(lora_layers(add_lora(copy_weights(teacher, [0]), 8, seed=seed)).values())
        ).lora_A.detach()

    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    a, b, c = first(0), first(0), first(1)
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    # Kaiming-uniform with a = √5 on 48 inputs.
    assert a.abs().max() <= 48**-0.5
    assert float(a.std()) == pytest.approx(48**-0.5 / 3**0.5, rel=0.15)


@pytest.mark.parametrize("rank", [0, -4, 49])
def test_a_rank_above_the_smallest_side_is_refused_with_the_range(teacher, rank):
    with pytest.raises(errors.OutOfRange, match=r"k is .*from 1 to 48") as caught:
        add_lora(copy_weights(teacher, [0]), rank)
    assert caught.value.field == "k"


def test_frozen_weights_do_not_change_by_a_bit_in_training(teacher, tmp_path):
    from wecolora.config import DistillConfig
    from wecolora.images import Preprocessing, load_images
    from wecolora.objectives import TokenObjective
    from wecolora.schedule import Schedule
    from wecolora.training import Setting, Trainer
    from wecolora.views import AugmentedImages

    student = add_lora(copy_weights(teacher, [1, 3, 5]), 8)
    frozen = {name: p.clone() for name, p in student.named_parameters() if not p.requires_grad}
    pairs = {name: p.detach().clone() for name, p in student.named_parameters() if p.requires_grad}
    buffers = {name: b.clone() for name, b in student.named_buffers()}
    found = load_images(write_images(tmp_path / "few", 6), 32)
    schedule = Schedule(6, 3, 4, 1, 0.5, 1e-2, seed=0)
    views = AugmentedImages(found, Preprocessing(32), 0)
    objective = TokenObjective(DistillConfig())
    trainer = Trainer(student, teacher, objective, views, schedule, Setting(torch.device("cpu")))
    assert len(list(trainer.steps())) == 6
    after = dict(student.named_parameters())
    assert all(torch.equal(frozen[name], after[name]) for name in frozen)
    assert all(torch.equal(buffers[name], value) for name, value in student.named_buffers())
    assert not any(torch.equal(pairs[name], after[name]) for name in pairs)


def test_merging_gives_plain_layers_and_the_same_parameter_count_as_the_copied_student(teacher):
    plain = sum(p.numel() for p in copy_weights(teacher, [1, 3]).parameters())
    student = merge_lora(add_lora(copy_weights(teacher, [1, 3]), 8))
    assert not lora_layers(student)
    assert sum(p.numel() for p in student.parameters()) == plain
