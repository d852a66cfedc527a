"""Depth reduction of residual networks (paper, Section 5) by the same interface."""

import json

import pytest
import timm
import torch
from torch import nn

import wecolora
from tests.wecolora.conftest import make_teacher, run, write_images
from wecolora import DistillConfig, add_lora, copy_weights, errors, load_adapter, load_teacher
from wecolora.blocks import plan_blocks
from wecolora.export import check_buildable
from wecolora.families import describe_model
from wecolora.lora import Pairs, lora_layers, merge_lora
from wecolora.losses import TokenReader, feature_l1
from wecolora.teachers import image_size_of

CHANNELS = (8, 12, 16, 24)
NETWORKS = {
    "basic": ("resnet18", {"channels": CHANNELS, "layers": (2, 3, 4, 2)}),
    "bottleneck": ("resnet50", {"channels": CHANNELS, "layers": (1, 2, 4, 2)}),
    "ResNeXt": (
        "resnext50_32x4d",
        {"channels": CHANNELS, "layers": (2, 2, 3, 2), "cardinality": 4, "base_width": 32},
    ),
    "deep stem, average shortcut": ("resnet50d", {"channels": CHANNELS, "layers": (1, 2, 4, 2)}),
    "squeeze and excitation": ("seresnet50", {"channels": CHANNELS, "layers": (1, 2, 4, 2)}),
    "anti-aliased": ("resnetblur50", {"channels": CHANNELS, "layers": (1, 2, 4, 2)}),
}
REFUSED = {
    "res2net50_26w_4s": "stage 1 is built of Bottle2neck",
    "skresnet18": "stage 1 is built of SelectiveKernelBasic",
    "resnest14d": "stage 1 is built of ResNestBottleneck",
}


def make_resnet(name="basic", **arguments):
    """A small ResNet of 32 pixels with norms that have seen images."""
    architecture, shape = NETWORKS[name]
    size = {"input_size": (3, 32, 32)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = make_teacher(
            architecture, num_classes=5, pretrained_cfg_overlay=size, **{**shape, **arguments}
        )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
                module.weight.copy_(0.5 + 0.2 * torch.randn(module.weight.shape, generator=generator))
    return model


def planned(depths, **options):
    with torch.device("meta"):
        model = timm.create_model("resnet18", channels=CHANNELS, layers=depths)
    return plan_blocks(describe_model(model), DistillConfig.model_validate({"recipe": "paper", **options}))


@pytest.fixture(params=NETWORKS, ids=lambda name: name.replace(" ", "-"))
def network(request):
    return make_resnet(request.param)


def test_every_stage_keeps_its_first_block_and_a_share_of_the_others():
    assert planned((3, 4, 6, 3)) == (0, 3, 6, 7, 10, 12, 13)
    assert planned((3, 4, 6, 3), policy="first-of-group") == (0, 3, 5, 7, 9, 11, 13)
    assert planned((3, 4, 6, 3), policy="both-ends") == (0, 3, 6, 7, 9, 12, 13)
    assert planned((3, 4, 6, 3), compression_factor=3) == (0, 3, 7, 12, 13)
    assert planned((3, 4, 6, 3), compression_factor=6) == (0, 3, 7, 13)
    assert planned((3, 4, 6, 3), layers=(0, 3, 7, 8, 13)) == (0, 3, 7, 8, 13)


@pytest.mark.parametrize(
    ("options", "field", "allowed"),
    [
        ({"compression_factor": 7}, "r", "from 1 to 6"),
        ({"layers": (0, 3, 8, 13)}, "layers", "holds 0, 3, 7, 13"),
        ({"layers": (0, 3, 7, 16)}, "layers", "from 0 to 15"),
    ],
)
def test_what_no_stage_can_give_is_refused_with_the_range(options, field, allowed):
    with pytest.raises(errors.OutOfRange, match=allowed) as caught:
        planned((3, 4, 6, 3), **options)
    assert caught.value.field == field


def test_a_rank_above_the_smallest_side_is_refused_with_the_limit():
    with torch.device("meta"):
        student = timm.create_model("resnext50_32x4d")
    # The grouped 3 × 3 convolutions of the first stage read 4 channels a group: 4 · 9 = 36.
    with pytest.raises(errors.OutOfRange, match="from 1 to 36") as caught:
        add_lora(student, 37)
    assert caught.value.field == "k"


@pytest.mark.parametrize("architecture", REFUSED)
def test_other_residual_networks_are_refused_by_name_with_the_reason(architecture):
    with torch.device("meta"):
        model = timm.create_model(architecture)
    with pytest.raises(errors.UnsupportedArchitecture, match=REFUSED[architecture]) as caught:
        describe_model(model)
    assert architecture in str(caught.value)


def test_a_network_is_copied_adapted_merged_and_delivered(network, tmp_path):
    layout = describe_model(network)
    blocks = plan_blocks(layout, DistillConfig(recipe="paper", policy="both-ends"))
    images = torch.randn(2, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    student = copy_weights(network, blocks)
    check_buildable(student)
    with torch.no_grad():
        copied = student.forward_features(images)
        assert torch.equal(copied, _through(network, blocks, images))
        add_lora(student, 3)
        assert torch.equal(copied, student.forward_features(images))
        for layer in lora_layers(student).values():
            layer.lora_B.normal_(std=0.1)
        unmerged = student.forward_features(images)
    assert not torch.allclose(unmerged, copied, rtol=1e-2)

    with TokenReader(network).attached() as of_teacher, TokenReader(student).attached() as of_student:
        tokens = of_student(images)
        assert tokens.shape == (2, 4, layout.embed_dim)
        feature_l1(tokens, of_teacher(images)).backward()
    trained = {name for name, p in student.named_parameters() if p.requires_grad}
    assert {name.rsplit(".", 1)[1] for name in trained} == {"lora_A", "lora_B"}
    assert all(student.get_parameter(name).grad.isfinite().all() for name in trained)
    assert sum(student.get_parameter(name).numel() for name in trained) == layout.trainable_parameters(
        3, blocks
    )

    merge_lora(student)
    with torch.no_grad():
        merged = student.forward_features(images)
        assert (merged - unmerged).abs().max() <= 1e-5 * unmerged.abs().max()
        folder = wecolora.export_student(student, tmp_path / "student")
        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        assert torch.equal(loaded.forward_features(images), merged)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert load_teacher(folder).pretrained_cfg["input_size"] == (3, 32, 32)


def test_the_trainable_parameters_are_rank_times_both_sides_of_every_convolution():
    with torch.device("meta"):
        layout = describe_model(timm.create_model("resnet18"))
        grouped = describe_model(timm.create_model("resnext50_32x4d"))
    # Block 0: 64 → 64 twice, 3 × 3. Block 2: 64 → 128 and 128 → 128, 3 × 3, and the shortcut's 1 × 1.
    assert layout.trainable_parameters(16, [0]) == 16 * 2 * (64 + 64 * 9)
    assert layout.trainable_parameters(16, [2]) == 16 * ((128 + 64 * 9) + (128 + 128 * 9) + (128 + 64))
    # Block 1: 256 → 128, 128 → 128 in 32 groups of 4, 128 → 256.
    assert grouped.trainable_parameters(16, [1]) == 16 * ((128 + 256) + (128 + 4 * 9) + (256 + 128))


@pytest.mark.parametrize("adapter", ["dora", "rslora"])
def test_other_adapters_start_from_the_copies_and_merge_exactly(adapter):
    student = copy_weights(make_resnet("ResNeXt"), (0, 2, 4, 7))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        copied = student.forward_features(images)
        add_lora(student, 3, pairs=Pairs(wecolora.Adapter(adapter)))
        torch.testing.assert_close(student.forward_features(images), copied, rtol=1e-5, atol=1e-5)
        for layer in lora_layers(student).values():
            layer.lora_B.normal_(std=0.1)
        unmerged = student.forward_features(images)
        torch.testing.assert_close(
            merge_lora(student).forward_features(images), unmerged, rtol=1e-5, atol=1e-5
        )


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("photographs") / "images", 24)


def test_training_lowers_the_loss_and_leaves_what_is_frozen(photographs, tmp_path):
    teacher = make_resnet()
    result = run(teacher, photographs, tmp_path / "out", lora_rank=8, epochs=6, learning_rate=1e-2)
    report = result.report
    assert report["training"]["final_loss"] < 0.8 * report["training"]["initial_loss"]
    assert report["student"]["blocks"] == [0, 2, 5, 8, 9]
    assert (report["teacher"]["stages"], report["student"]["stages"]) == ([2, 3, 4, 2], [1, 1, 2, 1])
    assert (report["teacher"]["depth"], report["student"]["depth"]) == (11, 5)
    layout = describe_model(teacher)
    assert report["student"]["trainable_parameters"] == layout.trainable_parameters(8, [0, 2, 5, 8, 9])

    copies = copy_weights(teacher, [0, 2, 5, 8, 9])
    adapted = {f"{path}.weight" for path in lora_layers(add_lora(copy_weights(teacher, [0, 2, 5, 8, 9]), 1))}
    delivered = timm.create_model(f"local-dir:{result.student_dir}", pretrained=True).state_dict()
    changed = {
        name for name, tensor in copies.state_dict().items() if not torch.equal(tensor, delivered[name])
    }
    assert changed == adapted
    assert json.loads((result.student_dir / "config.json").read_text())["model_args"]["layers"] == [
        1,
        1,
        2,
        1,
    ]

    again = merge_lora(load_adapter(teacher, tmp_path / "out" / "adapter.safetensors")).state_dict()
    assert all(torch.equal(tensor, delivered[name]) for name, tensor in again.items())


@pytest.mark.parametrize(
    "options",
    [
        {"recipe": "best", "epochs": 2},
        {"method": "weco-kd"},
        {"method": "kd", "block_weight": 0.5},
        {"policy": "measured", "lora_init": "eva", "adapter": "dora"},
    ],
    ids=lambda options: next(iter(options.values())),
)
def test_a_stopped_run_ends_as_an_uninterrupted_one(options, photographs, tmp_path):
    teacher = make_resnet(layers=(1, 2, 3, 1))
    whole = run(teacher, photographs, tmp_path / "whole", **options)

    def stop(progress):
        if progress.phase == "distilling" and progress.step == 4:
            raise errors.Interrupted(progress.step)

    with pytest.raises(errors.Interrupted):
        run(teacher, photographs, tmp_path / "stopped", on_progress=stop, **options)
    resumed = run(teacher, photographs, tmp_path / "stopped", resume=True, **options)
    wanted = whole.student.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in resumed.student.state_dict().items())
    assert whole.report["student"]["stages"] == [1, 1, 1, 1]


def test_the_closed_form_brings_every_block_nearer_to_the_end_of_its_group(photographs, tmp_path):
    teacher = make_resnet("bottleneck")
    options = {"recipe": "instant", "compression_factor": 2, "lora_rank": 2}
    report = run(teacher, photographs, tmp_path / "out", **{**options, "epochs": 0}).report
    assert [fit["end"] for fit in report["refit"]] == [0, 2, 5, 6, 8]
    standing_in = [fit for fit, skipped in zip(report["refit"], (0, 1, 1, 0, 1), strict=True) if skipped]
    assert all(fit["l1_after"] < 0.8 * fit["l1_before"] for fit in standing_in)
    assert report["notes"] == []


def test_a_refitted_network_without_skipped_blocks_stays_as_it_is(photographs):
    from wecolora.residual_refit import refit_residual_blocks

    teacher = make_resnet("bottleneck")
    student = copy_weights(teacher, range(9))
    images = torch.randn(4, 3, 64, 64)
    refit_residual_blocks(student, teacher, [images], range(9))
    with torch.no_grad():
        torch.testing.assert_close(
            student.forward_features(images), teacher.forward_features(images), rtol=1e-3, atol=1e-3
        )


def test_a_recipe_falls_back_to_copies_where_there_is_no_closed_form_and_says_so(photographs, tmp_path):
    teacher = make_resnet("squeeze and excitation")
    recipe = run(teacher, photographs, tmp_path / "recipe", recipe="best", epochs=1, lora_rank=2).report
    assert recipe["refit"] == []
    assert "recipe best starts from plain copies" in recipe["notes"][0]
    with pytest.raises(errors.UnsupportedArchitecture, match="use init=copy"):
        run(teacher, photographs, tmp_path / "asked", init="closed-form", epochs=1, lora_rank=2)


@pytest.mark.parametrize("method", ["weco-lora-qv", "deit", "minivit", "dmae"])
def test_methods_of_transformers_are_refused_with_those_that_fit(method, photographs, tmp_path):
    with pytest.raises(errors.MethodDoesNotFit, match="wecolora, weco-kd, kd, weco fit") as caught:
        run(make_resnet(), photographs, tmp_path / "out", method=method)
    assert caught.value.field == "method"


def test_an_image_size_is_kept_in_the_student(tmp_path):
    folder = wecolora.export_student(make_resnet(), tmp_path / "teacher")
    teacher = load_teacher(wecolora.TeacherSpec(str(folder), image_size=96))
    student = wecolora.export_student(copy_weights(teacher, [0, 2, 5, 9]), tmp_path / "student")
    assert load_teacher(wecolora.TeacherSpec(str(student), image_size=96)).pretrained_cfg["input_size"] == (
        3,
        96,
        96,
    )
    assert image_size_of(load_teacher(wecolora.TeacherSpec(str(folder), image_size=32))) == 32  # its own
    with pytest.raises(errors.OutOfRange, match="a multiple of 32, at least 64") as caught:
        load_teacher(wecolora.TeacherSpec(str(folder), image_size=100))
    assert caught.value.field == "image_size"


def test_a_bare_file_is_read_with_its_number_of_classes(tmp_path):
    from safetensors.torch import save_file

    weights = timm.create_model("resnet18", num_classes=7).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    teacher = load_teacher(
        wecolora.TeacherSpec(str(tmp_path / "weights.safetensors"), architecture="resnet18", image_size=64)
    )
    assert teacher.fc.out_features == 7
    assert teacher.pretrained_cfg["input_size"] == (3, 64, 64)


def test_norms_of_a_random_student_are_measured_on_the_images(photographs, tmp_path):
    result = run(make_resnet(), photographs, tmp_path / "out", method="kd", epochs=1)
    assert not torch.equal(result.student.bn1.running_var, torch.ones(64))


def _through(model, blocks, images):
    layers = [block for number in range(1, 5) for block in getattr(model, f"layer{number}")]
    out = model.maxpool(model.act1(model.bn1(model.conv1(images))))
    for block in blocks:
        out = layers[block](out)
    return out
