"""The method on the families of timm that users have, as small random instances of the real architectures."""

import copy

import pytest
import timm
import torch
from torch import nn

from tests.wecolora.conftest import SHAPE, make_teacher
from wecolora import add_lora, copy_weights, errors, export_student, feature_l1, merge_lora, select_blocks
from wecolora.export import check_buildable
from wecolora.lora import lora_layers
from wecolora.losses import TokenReader

FAMILIES = {
    "augreg ViT": ("vit_tiny_patch16_224", 32),
    "MAE": ("vit_base_patch16_224.mae", 32),
    "DINOv2 with LayerScale": ("vit_small_patch14_dinov2", 28),
    "registers": ("vit_small_patch14_reg4_dinov2", 28),
    "packed SwiGLU": ("vit_giant_patch14_dinov2", 28),
    "DeiT3": ("deit3_small_patch16_224", 32),
    "distilled DeiT": ("deit_tiny_distilled_patch16_224", 32),
    "CLIP tower": ("vit_base_patch32_clip_224", 64),
    "SigLIP tower": ("vit_base_patch16_siglip_224", 32),
    "BEiT": ("beit_base_patch16_224", 32),
    "BEiT v2": ("beitv2_base_patch16_224", 32),
    "EVA02, fused qkv": ("eva02_tiny_patch14_224", 28),
    "EVA02, split qkv": ("eva02_base_patch14_224", 28),
    "DINOv3": ("vit_small_patch16_dinov3", 32),
    "DINOv3 with SwiGLU": ("vit_small_plus_patch16_dinov3", 32),
    "axial rotary": ("vit_small_patch16_rope_224", 32),
    "relative positions": ("vit_relpos_small_patch16_224", 32),
    "FlexiViT": ("flexivit_small", 32),
}
REFUSED = {
    "swin_tiny_patch4_window7_224": "stages of different widths",
    "resnetv2_50": "convolutional network",
    "convnext_atto": "convolutional network",
    "mixer_b16_224": "no self-attention",
    "hiera_tiny_224": "block 1 differs from block 0",
    "samvit_base_patch16": "block 2 differs from block 0",
    "tnt_s_legacy_patch16_224": "two streams of tokens",
    "mvitv2_tiny": "stages of different widths",
    "volo_d1_224": "stages of different widths",
}


@pytest.fixture(params=FAMILIES, ids=lambda name: name.replace(" ", "-"))
def family(request):
    architecture, size = FAMILIES[request.param]
    return make_teacher(architecture, img_size=size, depth=5, **SHAPE), torch.randn(2, 3, size, size)


def test_a_family_is_copied_adapted_merged_and_delivered(family, tmp_path):
    teacher, images = family
    blocks = select_blocks(5, 2)
    student = copy_weights(teacher, blocks)
    check_buildable(student)
    with torch.no_grad():
        copied = student.forward_features(images)
        assert torch.equal(copied, _without_other_blocks(teacher, blocks).forward_features(images))
        add_lora(student, 8)
        assert torch.equal(copied, student.forward_features(images))
        for layer in lora_layers(student).values():
            layer.lora_B.normal_(std=0.1)
        unmerged = student.forward_features(images)
    assert not torch.allclose(unmerged, copied, rtol=1e-2)

    with TokenReader(teacher).attached() as of_teacher, TokenReader(student).attached() as of_student:
        feature_l1(of_student(images), of_teacher(images)).backward()
    without = [name for name, p in student.named_parameters() if p.requires_grad and not _has_gradient(p)]
    assert without == []

    merge_lora(student)
    with torch.no_grad():
        merged = student.forward_features(images)
        assert (merged - unmerged).abs().max() <= 1e-5 * unmerged.abs().max()
        folder = export_student(student, tmp_path / "student")
        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        assert torch.equal(loaded.forward_features(images), merged)
    assert len(loaded.blocks) == 2


@pytest.mark.parametrize("architecture", REFUSED)
def test_an_architecture_that_cannot_work_is_refused_by_name_with_the_reason(architecture):
    with torch.device("meta"):
        model = timm.create_model(architecture)
    with pytest.raises(errors.UnsupportedArchitecture, match=REFUSED[architecture]) as caught:
        copy_weights(model, [0])
    assert architecture in str(caught.value)
    assert caught.value.field == "teacher"


def test_a_model_that_timm_cannot_rebuild_from_a_config_is_refused_before_training():
    from timm.models.vision_transformer import ParallelScalingBlock

    teacher = make_teacher(
        "vit_tiny_patch16_224", img_size=32, depth=4, block_fn=ParallelScalingBlock, **SHAPE
    )
    with pytest.raises(errors.UnsupportedArchitecture, match=r"config\.json cannot hold"):
        check_buildable(copy_weights(teacher, [1, 3]))


def _without_other_blocks(teacher: nn.Module, blocks: tuple[int, ...]) -> nn.Module:
    shortened = copy.deepcopy(teacher)
    kept = [shortened.blocks[index] for index in blocks]
    shortened.blocks = (
        nn.Sequential(*kept) if isinstance(teacher.blocks, nn.Sequential) else nn.ModuleList(kept)
    )
    return shortened


def _has_gradient(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())
