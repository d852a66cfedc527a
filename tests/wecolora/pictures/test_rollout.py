"""Attention rollout on the families of timm that users have."""

import pytest
import timm
import torch

from tests.wecolora.conftest import SHAPE, make_teacher
from tests.wecolora.test_families import FAMILIES
from wecolora import errors
from wecolora.pictures.rollout import attention_grids, block_attention, reads_class_token, rollout

MEAN_OF_PATCHES = {
    "SigLIP tower", "BEiT", "BEiT v2", "EVA02, fused qkv", "EVA02, split qkv", "DINOv3", "DINOv3 with SwiGLU",
    "relative positions",
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES, ids=lambda name: name.replace(" ", "-"))
def test_fused_and_plain_attention_of_a_family_are_read_alike(name):
    architecture, size = FAMILIES[name]
    model = make_teacher(architecture, img_size=size, depth=2, **SHAPE)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    fused = block_attention(model, images)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    plain = block_attention(model, images)
    assert len(fused) == len(plain) == 2
    for one, other in zip(fused, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
        # Rows of one head sum to 1, so the maximum over three heads lies between 1 and 3.
        assert ((one.sum(dim=-1) >= 1 - 1e-4) & (one.sum(dim=-1) <= 3 + 1e-4)).all()
    grids, readout = attention_grids(model, images)
    side = size // model.patch_embed.patch_size[0]
    assert grids.shape == (2, side, side)
    assert readout == ("mean of the patches" if name in MEAN_OF_PATCHES else "class token")


def test_what_is_read_is_the_softmax_of_queries_and_keys(teacher):
    images = torch.randn(1, 3, 32, 32)
    entering = []
    handle = teacher.blocks[0].attn.register_forward_pre_hook(
        lambda module, inputs: entering.append(inputs[0])
    )
    found = block_attention(teacher, images)[0][0]
    handle.remove()
    attention = teacher.blocks[0].attn
    qkv = attention.qkv(entering[0]).reshape(17, 3, attention.num_heads, -1)
    query, key = qkv[:, 0].transpose(0, 1), qkv[:, 1].transpose(0, 1)
    by_hand = (query @ key.transpose(1, 2) * attention.scale).softmax(dim=-1).amax(dim=0)
    assert torch.allclose(found, by_hand, atol=1e-6)


def test_the_model_is_left_as_it_was(teacher):
    before = [module.fused_attn for module in teacher.modules() if hasattr(module, "fused_attn")]
    attention_grids(teacher, torch.randn(1, 3, 32, 32))
    assert [module.fused_attn for module in teacher.modules() if hasattr(module, "fused_attn")] == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in teacher.modules())


def test_rollout_by_hand():
    first = torch.tensor([[[0.6, 0.4], [0.1, 0.9]]])
    second = torch.tensor([[[0.2, 0.8], [0.5, 0.5]]])
    normalised = [
        (matrix + torch.eye(2)) / (matrix + torch.eye(2)).sum(-1, keepdim=True) for matrix in (first, second)
    ]
    assert torch.allclose(rollout([first, second], discard=0), normalised[1] @ normalised[0])


def test_only_the_highest_tenth_of_the_attention_counts():
    matrix = torch.arange(100.0).reshape(1, 10, 10) / 100
    rolled = rollout([matrix], discard=0.9)[0]
    # The ten highest values are the last row; every other token keeps to itself.
    assert torch.equal(rolled[:9], torch.eye(10)[:9])
    assert (rolled[9] > 0).all()
    assert torch.allclose(rolled.sum(dim=-1), torch.ones(10))


def test_a_class_token_that_only_copies_one_patch_looks_at_that_patch():
    tokens = 1 + 9
    looks_at_patch_4 = torch.zeros(1, tokens, tokens)
    looks_at_patch_4[0, 0, 1 + 4] = 1
    row = rollout([looks_at_patch_4, looks_at_patch_4])[0, 0, 1:]
    assert row.argmax() == 4
    assert (row > 0).sum() == 1


def test_registers_are_left_out_of_the_grid():
    model = make_teacher("vit_small_patch14_reg4_dinov2", img_size=56, depth=2, **SHAPE)
    assert model.num_prefix_tokens == 5
    images = torch.randn(8, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    grids, _ = attention_grids(model, images)
    assert grids.shape == (8, 4, 4)
    assert grids.max() == 1


def test_attention_over_channels_cannot_be_drawn_and_says_so():
    model = timm.create_model("xcit_nano_12_p16_224", depth=2, img_size=64).eval()
    with pytest.raises(errors.AttentionUnavailable, match="block 0 computes no attention matrix"):
        attention_grids(model, torch.randn(1, 3, 64, 64))


def test_two_attentions_in_a_block_cannot_be_drawn_and_say_so(teacher):
    class Twice(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, x):
            return self.block(self.block(x))

    teacher.blocks[1] = Twice(teacher.blocks[1])
    with pytest.raises(errors.AttentionUnavailable, match="block 1 computes 2 attention matrices"):
        attention_grids(teacher, torch.randn(1, 3, 32, 32))


def test_pooling_decides_which_row_is_read():
    token, mean = (
        make_teacher("vit_tiny_patch16_224", img_size=32, depth=2, global_pool=pool, **SHAPE)
        for pool in ("token", "avg")
    )
    assert reads_class_token(token)
    assert not reads_class_token(mean)
