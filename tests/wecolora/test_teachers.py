"""Loading teachers: names, folders, files, and what is refused."""

import json
import shutil

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.wecolora.conftest import SHAPE, make_teacher, run, write_images
from wecolora import TeacherSpec, errors, load_teacher
from wecolora.teachers import image_size_of, preprocessing_of


@pytest.fixture
def dinov2(tmp_path):
    """Weights of a 14-pixel-patch network at 56 px, with a head of 10 classes, as a bare file in fp16."""
    model = make_teacher("vit_small_patch14_dinov2", img_size=56, depth=12, num_classes=10)
    file = tmp_path / "own.safetensors"
    save_file({name: tensor.half() for name, tensor in model.state_dict().items()}, file)
    return file


def test_a_folder_loads_frozen_in_fp32_and_eval_mode(teacher, teacher_folder):
    loaded = load_teacher(teacher_folder)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), teacher.parameters(), strict=True))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize(
    "architecture",
    [
        "vit_tiny_patch16_224",
        "beit_base_patch16_224",
        "eva02_tiny_patch14_224",
        "vit_small_patch16_dinov3",
        "resnet18",
    ],
)
def test_what_no_file_holds_is_as_timm_builds_it_and_nothing_is_drawn(architecture, tmp_path):
    size = {} if architecture == "resnet18" else {"img_size": 64 if "16" in architecture else 56}
    small = {} if architecture == "resnet18" else {"depth": 2}
    built = timm.create_model(architecture, **size, **small).eval()
    timm.models.save_for_hf(built, str(tmp_path), model_args={**size, **small}, safe_serialization=True)
    state = torch.get_rng_state()
    loaded = load_teacher(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    names = [name for name, _ in built.named_buffers()]
    assert names == [name for name, _ in loaded.named_buffers()]
    for (name, ours), (_, theirs) in zip(loaded.named_buffers(), built.named_buffers(), strict=True):
        assert torch.equal(ours, theirs), name
    images = torch.randn(2, 3, *2 * [size.get("img_size", 64)])
    with torch.no_grad():
        assert torch.equal(loaded.forward_features(images), built.forward_features(images))


def test_input_size_classes_and_precision_are_read_off_a_bare_file(dinov2):
    loaded = load_teacher(TeacherSpec(str(dinov2), "vit_small_patch14_dinov2"))
    assert image_size_of(loaded) == 56
    assert loaded.num_classes == 10
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert "license" not in loaded.pretrained_cfg, "timm's licence is not that of the user's weights"
    stored = load_file(dinov2)
    assert torch.equal(loaded.pos_embed, stored["pos_embed"].float())


def test_position_embeddings_are_resampled_to_another_input_size(dinov2):
    loaded = load_teacher(TeacherSpec(str(dinov2), "vit_small_patch14_dinov2", image_size=98))
    assert loaded.pos_embed.shape == (1, 1 + 49, 384)
    assert loaded.forward_features(torch.randn(1, 3, 98, 98)).shape == (1, 50, 384)
    assert preprocessing_of(loaded).size == 98


def test_a_bare_file_needs_its_architecture(dinov2):
    with pytest.raises(errors.ArchitectureRequired, match="--architecture") as caught:
        load_teacher(dinov2)
    assert caught.value.field == "architecture"


@pytest.mark.parametrize(
    ("size", "allowed"),
    [(57, "multiple of 14"), (14, "at least 28"), (0, "at least 28"), (-14, "at least 28")],
)
def test_an_input_size_that_patches_do_not_fill_is_refused_with_the_patch_size(dinov2, size, allowed):
    with pytest.raises(errors.OutOfRange, match=allowed) as caught:
        load_teacher(TeacherSpec(str(dinov2), "vit_small_patch14_dinov2", image_size=size))
    assert caught.value.field == "image_size"


def test_weights_of_another_shape_are_refused_by_the_tensors_name(dinov2):
    with pytest.raises(errors.InvalidCheckpoint, match=r"tensor 'cls_token' is \[1, 1, 384\]"):
        load_teacher(TeacherSpec(str(dinov2), "vit_base_patch14_dinov2"))


def test_a_missing_tensor_is_named(dinov2):
    state = load_file(dinov2)
    del state["blocks.7.attn.qkv.weight"]
    save_file(state, dinov2)
    with pytest.raises(errors.InvalidCheckpoint, match=r"lacks tensor 'blocks\.7\.attn\.qkv\.weight'"):
        load_teacher(TeacherSpec(str(dinov2), "vit_small_patch14_dinov2"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite_is_named(dinov2, value):
    state = load_file(dinov2)
    state["blocks.3.mlp.fc1.bias"][5] = value
    save_file(state, dinov2)
    with pytest.raises(errors.InvalidCheckpoint, match=r"blocks\.3\.mlp\.fc1\.bias"):
        load_teacher(TeacherSpec(str(dinov2), "vit_small_patch14_dinov2"))


def test_a_torn_file_is_refused(dinov2):
    dinov2.write_bytes(dinov2.read_bytes()[:1000])
    with pytest.raises(errors.InvalidCheckpoint, match="not a safetensors file"):
        load_teacher(TeacherSpec(str(dinov2), "vit_small_patch14_dinov2"))


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "pytorch_model.bin"])
def test_a_pickle_is_refused_with_the_way_out(tmp_path, name):
    torch.save({"x": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(errors.InvalidCheckpoint, match="safetensors"):
        load_teacher(TeacherSpec(str(tmp_path / name), "vit_small_patch14_dinov2"))


def test_a_folder_without_safetensors_weights_is_refused(teacher_folder):
    (teacher_folder / "model.safetensors").rename(teacher_folder / "pytorch_model.bin")
    with pytest.raises(errors.InvalidCheckpoint, match=r"no model\.safetensors"):
        load_teacher(teacher_folder)


def test_a_folder_with_a_broken_config_is_refused(teacher_folder):
    config = teacher_folder / "config.json"
    config.write_text("{")
    with pytest.raises(errors.InvalidCheckpoint, match="not a timm config"):
        load_teacher(teacher_folder)
    config.write_text(json.dumps({"architecture": "vit_tiny_patch16_224"}))
    with pytest.raises(errors.InvalidCheckpoint, match="tensor"):
        load_teacher(teacher_folder)


def test_an_unknown_name_is_refused_with_close_names():
    with pytest.raises(errors.UnknownTeacher, match="vit_base_patch16_224"):
        load_teacher("vit_base_patch16_244")
    with pytest.raises(errors.UnknownTeacher, match=r"Close names: vit_base_patch16_224\."):
        load_teacher("vit_base_patch16_224.nosuchtag")


def test_a_network_that_does_not_fit_is_refused_before_its_weights_are_fetched():
    with pytest.raises(errors.UnsupportedArchitecture, match="convnext_atto"):
        load_teacher("convnext_atto")


def test_a_network_that_reads_another_number_of_channels_is_refused(tmp_path):
    model = make_teacher(img_size=32, depth=2, in_chans=1, **SHAPE)
    timm.models.save_for_hf(model, str(tmp_path / "grey"), safe_serialization=True)
    with pytest.raises(errors.UnsupportedArchitecture, match="1 channels"):
        load_teacher(tmp_path / "grey")


def test_a_moved_folder_loads_from_its_new_place(teacher_folder, tmp_path):
    shutil.move(teacher_folder, tmp_path / "with spaces")
    assert len(load_teacher(tmp_path / "with spaces").blocks) == 6


def test_the_users_own_mean_and_std_reach_the_images_and_the_student(dinov2, tmp_path):
    own = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    spec = TeacherSpec(str(dinov2), "vit_small_patch14_dinov2", **own)
    assert (preprocessing_of(load_teacher(spec)).mean, preprocessing_of(load_teacher(spec)).std) == tuple(
        own.values()
    )
    result = run(spec, write_images(tmp_path / "images", 2), tmp_path / "out", epochs=1)
    config = json.loads((result.student_dir / "config.json").read_text())["pretrained_cfg"]
    assert (config["mean"], config["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    "own", [{"mean": (0.5, 0.5)}, {"std": (0.0, 0.5, 0.5)}, {"mean": (124.0, 116.0, 104.0)}]
)
def test_a_mean_or_std_that_is_no_triple_of_shares_is_refused(dinov2, own):
    with pytest.raises(errors.OutOfRange, match="three numbers"):
        load_teacher(TeacherSpec(str(dinov2), "vit_small_patch14_dinov2", **own))
