"""The paper's method and its ablations on the one training loop."""

import pytest
import timm
import torch

import wecolora
from tests.wecolora.conftest import SHAPE, make_teacher, run, write_images
from wecolora import copy_weights, errors, select_blocks
from wecolora.lora import DoRALinear, Pairs, lora_layers
from wecolora.objectives import TokenObjective


def weights(model):
    return model.state_dict()


@pytest.mark.parametrize("method", ["wecolora", "weco-kd", "kd", "weco-lora-qv", "weco"])
def test_every_method_delivers_a_student_that_timm_loads_and_says_what_it_trained(
    method, teacher, images, tmp_path
):
    result = run(teacher, images, tmp_path / "out", method=method)
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out' / 'student'}", pretrained=True)
    assert all(torch.equal(weights(loaded)[name], tensor) for name, tensor in weights(result.student).items())
    assert len(loaded.blocks) == 3
    report = result.report
    assert report["method"] == method
    matrices = 3 * 8 * (4 * 96 + 2 * 240)
    everything_before_the_head = sum(p.numel() for p in loaded.parameters()) - sum(
        p.numel() for p in [*loaded.head.parameters(), *loaded.norm.parameters()]
    )
    assert (
        report["student"]["trainable_parameters"]
        == {
            "wecolora": matrices,
            "weco-lora-qv": 3 * 8 * 2 * 96,
            "weco-kd": everything_before_the_head,
            "kd": everything_before_the_head,
            "weco": 0,
        }[method]
    )
    merged, training = report["student"]["gmacs"], report["student"]["gmacs_unmerged"]
    assert (training > merged) == (method in ("wecolora", "weco-lora-qv"))


def test_copies_without_training_are_the_control(teacher, images):
    student = run(teacher, images, None, method="weco").student
    copies = copy_weights(teacher, select_blocks(6, 2))
    assert all(torch.equal(weights(student)[name], tensor) for name, tensor in weights(copies).items())


def test_kd_starts_from_random_weights_by_its_seed(teacher, images):
    first, second, third = (
        run(teacher, images, None, method="kd", seed=seed, learning_rate=1e-12).student for seed in (0, 0, 1)
    )
    matrix = "blocks.0.mlp.fc1.weight"
    assert torch.equal(weights(first)[matrix], weights(second)[matrix])
    assert not torch.allclose(weights(first)[matrix], weights(third)[matrix], atol=1e-3)
    assert not torch.allclose(weights(first)[matrix], weights(teacher)["blocks.1.mlp.fc1.weight"], atol=1e-3)


def test_pairs_on_queries_and_values_leave_the_keys_and_all_else_alone(teacher, images):
    student = run(teacher, images, None, method="weco-lora-qv").student
    copies = copy_weights(teacher, select_blocks(6, 2))
    changed = {
        name for name, tensor in weights(student).items() if not torch.equal(tensor, weights(copies)[name])
    }
    assert changed == {f"blocks.{block}.attn.qkv.weight" for block in range(3)}
    queries, keys, values = weights(student)["blocks.0.attn.qkv.weight"].split(48)
    theirs = weights(copies)["blocks.0.attn.qkv.weight"].split(48)
    assert torch.equal(keys, theirs[1])
    assert not torch.equal(queries, theirs[0])
    assert not torch.equal(values, theirs[2])


@pytest.mark.parametrize("adapter", ["lora", "rslora", "dora"])
@pytest.mark.parametrize("method", ["wecolora", "weco-lora-qv"])
def test_every_adapter_merges_exactly_and_gives_the_student_back(adapter, method, teacher, images, tmp_path):
    result = run(teacher, images, tmp_path / "out", method=method, adapter=adapter)
    unmerged = wecolora.load_adapter(teacher, tmp_path / "out" / "adapter.safetensors")
    pixels = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        ours, theirs = (model.forward_features(pixels) for model in (result.student, unmerged))
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    copies = copy_weights(teacher, select_blocks(6, 2))
    assert not torch.equal(ours, copies.forward_features(pixels))


@pytest.mark.parametrize("init", ["kaiming", "gaussian", "orthogonal", "eva"])
@pytest.mark.parametrize("adapter", ["lora", "dora"])
def test_every_start_equals_the_copied_blocks(init, adapter, teacher):
    student = copy_weights(teacher, (1, 3, 5))
    pixels = torch.randn(2, 3, 32, 32)
    directions = wecolora.input_directions(student, [torch.randn(8, 3, 32, 32)], 8, torch.device("cpu"))
    with torch.no_grad():
        before = student.forward_features(pixels)
        pairs = Pairs(adapter=wecolora.Adapter(adapter), init=wecolora.LoraInit(init))
        wecolora.add_lora(student, 8, pairs=pairs, directions=directions)
        after = student.forward_features(pixels)
    assert torch.allclose(before, after, atol=1e-5)
    layer = lora_layers(student)["blocks.0.mlp.fc1"]
    assert isinstance(layer, DoRALinear) == (adapter == "dora")
    assert bool(layer.lora_A.any())


def test_the_start_from_the_inputs_spans_what_the_layers_see(teacher):
    student = copy_weights(teacher, (1, 3, 5))
    images = [torch.randn(8, 3, 32, 32)]
    rows = []
    handle = student.blocks[0].attn.qkv.register_forward_pre_hook(lambda _m, inputs: rows.append(inputs[0]))
    directions = wecolora.input_directions(student, images, 8, torch.device("cpu"))
    handle.remove()
    found = directions["blocks.0.attn.qkv"].float()
    singular = torch.linalg.svd(rows[0].flatten(0, 1), full_matrices=False)
    overlap = torch.linalg.matrix_norm(found @ singular.Vh[:8].T, ord="nuc")
    assert found.shape == (8, 48)
    assert overlap == pytest.approx(8, abs=1e-3)


def test_the_scale_of_rank_stabilised_pairs_falls_with_the_root_of_the_rank():
    assert Pairs(adapter=wecolora.Adapter.RSLORA).scale(64) == 1.0
    assert Pairs(adapter=wecolora.Adapter.RSLORA, alpha=16).scale(16) == 4.0
    assert Pairs().scale(512) == 1.0
    assert Pairs(alpha=16).scale(32) == 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "smooth-l1"},
        {"loss": "cosine"},
        {"loss_place": "after-norm"},
        {"normalise_targets": True},
        {"cls_weight": 1.0},
        {"block_weight": 1.0},
        {"block_weight": 0.5, "policy": "both-ends", "loss_place": "after-norm", "cls_weight": 2.0},
    ],
    ids=str,
)
def test_every_loss_is_lowered_by_training(options, teacher, images):
    training = run(teacher, images, None, epochs=6, **options).report["training"]
    assert training["final_loss"] < 0.97 * training["initial_loss"]


@pytest.fixture(scope="module")
def plain_student(tmp_path_factory):
    """The student of the recipe ``paper``, to hold others against."""
    teacher = make_teacher(depth=6, img_size=32, patch_size=8, num_classes=5, **SHAPE)
    folder = write_images(tmp_path_factory.mktemp("plain") / "images", 24)
    return teacher, folder, weights(run(teacher, folder, None).student)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "smooth-l1"},
        {"loss": "cosine"},
        {"loss_place": "after-norm"},
        {"normalise_targets": True},
        {"cls_weight": 1.0},
        {"block_weight": 1.0},
        {"adapter": "rslora"},
        {"adapter": "dora"},
        {"lora_alpha": 4.0},
        {"lora_init": "gaussian"},
        {"lora_init": "orthogonal"},
        {"lora_init": "eva"},
        {"smallest_crop": 0.9},
        {"views": 1},
        {"precision": "bf16"},
        {"weight_decay": 5.0},
        {"init": "closed-form"},
        {"init": "closed-form", "refit_views": 3},
        {"init": "closed-form", "refit_ridge": 50.0},
    ],
    ids=str,
)
def test_every_option_makes_another_student(options, plain_student):
    teacher, folder, plain = plain_student
    student = weights(run(teacher, folder, None, **options).student)
    if len(options) > 1:  # against the closed form without the further option
        plain = weights(run(teacher, folder, None, init="closed-form").student)
    assert any(not torch.equal(student[name], tensor) for name, tensor in plain.items())


def test_views_that_are_shown_again_give_the_same_student_whether_their_targets_are_kept_or_not(
    teacher, images, monkeypatch
):
    from wecolora import targets

    kept = run(teacher, images, None, views=2, epochs=4)
    monkeypatch.setattr(targets, "MEMORY_BYTES", 0)
    computed = run(teacher, images, None, views=2, epochs=4)
    assert all(
        torch.equal(weights(kept.student)[name], tensor) for name, tensor in weights(computed.student).items()
    )


def test_half_precision_trains_on_kept_targets(teacher, images):
    training = run(teacher, images, None, precision="bf16", views=2, epochs=6).report["training"]
    assert training["precision"] == "bf16"
    assert training["final_loss"] < 0.97 * training["initial_loss"]


def test_the_teacher_sees_a_repeated_view_once(teacher, images):
    batches = []
    handle = teacher.blocks[0].register_forward_pre_hook(lambda _m, inputs: batches.append(len(inputs[0])))
    run(teacher, images, None, views=1, epochs=4)
    handle.remove()
    assert sum(size for size in batches if size == 8) == 24  # one epoch of three batches, not four


def test_a_share_of_the_images_is_taken_of_every_class_folder(teacher, tmp_path):
    from wecolora.images import load_images

    write_images(tmp_path / "all" / "cats", 20)
    write_images(tmp_path / "all" / "dogs", 10, seed=1)
    write_images(tmp_path / "all" / "rare", 1, seed=2)
    chosen = load_images(tmp_path / "all", 32).subset(0.2, seed=0)
    folders = [path.parent.name for path in chosen.paths]
    assert {name: folders.count(name) for name in folders} == {"cats": 4, "dogs": 2, "rare": 1}


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(
    teacher, images, tmp_path, monkeypatch
):
    loss, calls = TokenObjective.loss, []

    def spoilt_in_the_fourth_step(self, views, keys, targets):
        calls.append(len(views))
        return loss(self, views, keys, targets) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr(TokenObjective, "loss", spoilt_in_the_fourth_step)
    with pytest.raises(errors.NonFiniteLoss, match="lower lr") as caught:
        run(teacher, images, tmp_path / "out", checkpoint_seconds=0)
    assert caught.value.step == 4
    assert caught.value.value != caught.value.value  # not a number
    assert caught.value.checkpoint == str(tmp_path / "out" / "checkpoint.safetensors")
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()
