"""What a job needs on a device: the arithmetic against what autograd keeps, and what makes it more or less."""

import pytest
import torch
from PIL import Image

from core.catalogue import load_catalogue
from core.device_memory import GIBIBYTE, KEPT_BYTES, needed_bytes
from core.kept_blocks import kept_blocks
from core.recipes import complete_options
from wecolora.config import DistillConfig
from wecolora.plan import make_plan, make_trainer
from wecolora.torchvision_compat import timm

CATALOGUE = load_catalogue()


def needed(name, **given):
    teacher = CATALOGUE.find_teacher(name)
    network = CATALOGUE.known_network(teacher.resolve(), teacher.parameters)
    assert network is not None
    options = complete_options(given, 128)
    return needed_bytes(options, network, kept_blocks(network.stages, options))


def test_a_vit_b_fits_a_small_gpu_and_the_largest_one_does_not():
    assert 1.5 * GIBIBYTE < needed("vit_base_patch16_224") < 4 * GIBIBYTE
    assert 4 * GIBIBYTE < needed("vit_large_patch14_dinov2.lvd142m") < 12 * GIBIBYTE
    assert 12 * GIBIBYTE < needed("vit_giant_patch14_dinov2.lvd142m") < 40 * GIBIBYTE


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({}, {"checkpoint_activations": True}),
        ({}, {"micro_batch": 1}),
        ({}, {"batch_size": 2}),
        ({}, {"image_size": 98}),
        ({"precision": "fp32"}, {}),
        ({"r": 2}, {"r": 4}),
        ({"method": "weco-kd"}, {"method": "wecolora", "recipe": "paper"}),
        ({"k": 512}, {"k": 16}),
    ],
)
def test_what_a_user_can_turn_makes_it_less(more, less):
    teacher = "vit_large_patch14_dinov2.lvd142m"
    assert needed(teacher, **more) > needed(teacher, **less)


def test_a_resnet_is_counted_too():
    assert GIBIBYTE < needed("resnet50.a1_in1k") < 8 * GIBIBYTE


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_block_keeps_for_the_backward_pass_what_is_reckoned(precision, tmp_path):
    images = 4
    for number in range(images):
        Image.effect_noise((96, 96), 40 + number).convert("RGB").save(tmp_path / f"{number}.png")
    teacher = timm.create_model("vit_small_patch16_224", img_size=96, num_classes=0)
    config = DistillConfig(
        recipe="paper",
        compression_factor=2,
        lora_rank=64,
        epochs=1,
        batch_size=images,
        precision=precision,
        device="cpu",
    )
    trainer = make_trainer(make_plan(teacher, tmp_path, config, lambda _: None))
    tokens = images * (6 * 6 + 1)
    kept = {}

    def keep(tensor):
        if images in tensor.shape[:1] or tokens in tensor.shape[:2]:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        next(iter(trainer.steps()))
    reckoned = 6 * tokens * teacher.embed_dim * KEPT_BYTES[precision]
    assert sum(kept.values()) == pytest.approx(reckoned, rel=0.15)
