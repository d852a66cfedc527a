"""From a teacher and a folder of images to a merged student on disk."""

import json

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

import wecolora
from tests.wecolora.conftest import run, write_images
from wecolora import errors


def tensors(out):
    return load_file(out / "student" / "model.safetensors")


def metrics(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) | {"images_per_second": 0} for line in lines]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_at_step(step):
    """A callback that asks the run to stop after a step."""

    def stop(progress):
        if progress.phase == "distilling" and progress.step == step:
            raise errors.Interrupted(progress.step)

    return stop


@pytest.fixture
def finished(teacher, images, tmp_path):
    return run(teacher, images, tmp_path / "out"), tmp_path / "out"


def test_a_run_delivers_the_student_the_adapter_the_metrics_and_the_report(finished):
    result, out = finished
    assert {path.name for path in out.iterdir()} == {
        "student",
        "adapter.safetensors",
        "metrics.jsonl",
        "report.json",
    }
    assert {path.name for path in (out / "student").iterdir()} == {"config.json", "model.safetensors"}
    assert json.loads((out / "report.json").read_text()) == result.report


def test_the_student_loads_in_timm_with_one_line_and_is_the_one_that_was_trained(finished):
    result, out = finished
    loaded = timm.create_model(f"local-dir:{out / 'student'}", pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), result.student.eval()(images))
    assert len(loaded.blocks) == 3
    assert loaded.pretrained_cfg["mean"] == [0.5, 0.5, 0.5]  # the teacher's own, not ImageNet's


def test_training_lowers_the_loss(teacher, images, tmp_path):
    report = run(teacher, images, tmp_path / "out", epochs=6).report
    assert report["training"]["final_loss"] < 0.9 * report["training"]["initial_loss"]


def test_the_adapter_and_the_teacher_give_the_student_back(finished, teacher):
    result, out = finished
    student = wecolora.merge_lora(wecolora.load_adapter(teacher, out / "adapter.safetensors"))
    assert same(student.state_dict(), result.student.state_dict())


def test_an_adapter_of_another_architecture_is_refused(finished):
    _, out = finished
    other = timm.create_model("vit_tiny_patch16_224", embed_dim=48, num_heads=3, depth=6, mlp_ratio=2)
    with pytest.raises(errors.InvalidCheckpoint, match=r"blocks\.0\.mlp\.fc1\.lora_B"):
        wecolora.load_adapter(other, out / "adapter.safetensors")
    with pytest.raises(errors.InvalidCheckpoint, match="no adapter"):
        wecolora.load_adapter(other, out / "student" / "model.safetensors")


def test_the_metrics_hold_one_line_a_step(finished):
    result, out = finished
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert lines[0]["loss"] == result.report["training"]["initial_loss"]
    assert all(line["learning_rate"] > 0 for line in lines)


def test_the_report_counts_what_was_done(finished):
    report = finished[0].report
    assert report["training"]["optimiser_steps"] == 6
    assert report["student"]["depth"] == 3
    assert report["student"]["blocks"] == [1, 3, 5]
    assert report["student"]["trainable_parameters"] == 3 * 8 * (4 * 96 + 2 * 240)
    assert report["student"]["gmacs"] < report["student"]["gmacs_unmerged"] < report["teacher"]["gmacs"]
    assert report["images"] == {"found": 24, "used": 24, "skipped": []}


def test_fewer_images_than_a_batch_still_train(teacher, tmp_path):
    few = write_images(tmp_path / "few", 3)
    report = run(teacher, few, tmp_path / "out", batch_size=128, accumulate=8, epochs=4).report
    assert report["training"]["optimiser_steps"] == 4
    assert report["training"]["images_per_step"] == 3
    assert report["training"]["final_loss"] < report["training"]["initial_loss"]


def test_one_image_is_enough_to_run(teacher, tmp_path):
    report = run(teacher, write_images(tmp_path / "one", 1), tmp_path / "out", epochs=1).report
    assert report["training"]["optimiser_steps"] == 1


def test_the_same_seed_gives_the_same_student_and_another_seed_another(teacher, images, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(name) + seed)  # the caller's random state must not matter
        run(teacher, images, tmp_path / name, seed=seed)
    assert same(tensors(tmp_path / "a"), tensors(tmp_path / "b"))
    assert not same(tensors(tmp_path / "a"), tensors(tmp_path / "c"))


@pytest.mark.parametrize("stop_at", [1, 3, 4, 5])
def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_student(teacher, images, tmp_path, stop_at):
    run(teacher, images, tmp_path / "whole")

    with pytest.raises(errors.Interrupted, match=f"step {stop_at}"):
        run(teacher, images, tmp_path / "parts", on_progress=stop_at_step(stop_at))
    assert not (tmp_path / "parts" / "student").exists()
    resumed = run(teacher, images, tmp_path / "parts", resume=True)
    assert resumed.report["training"]["resumed_from_step"] == stop_at
    assert same(tensors(tmp_path / "whole"), tensors(tmp_path / "parts"))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_micro_batches_change_the_student_by_rounding_only(teacher, images, tmp_path):
    whole = run(teacher, images, tmp_path / "whole", batch_size=8, accumulate=1, epochs=1)
    halves = run(teacher, images, tmp_path / "halves", batch_size=4, accumulate=2, epochs=1)
    assert halves.report["training"]["optimiser_steps"] == whole.report["training"]["optimiser_steps"] == 3
    assert halves.report["training"]["initial_loss"] == pytest.approx(
        whole.report["training"]["initial_loss"], rel=1e-5
    )
    for name, tensor in whole.student.state_dict().items():
        torch.testing.assert_close(halves.student.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_resuming_with_other_settings_names_them(teacher, images, tmp_path):
    with pytest.raises(errors.Interrupted):
        run(teacher, images, tmp_path / "out", on_progress=stop_at_step(2))
    with pytest.raises(errors.CheckpointMismatch, match=r"lora_rank was 8 and is now 4"):
        run(teacher, images, tmp_path / "out", resume=True, lora_rank=4)
    write_images(images, 25, seed=9)
    with pytest.raises(errors.CheckpointMismatch, match="images was"):
        run(teacher, images, tmp_path / "out", resume=True)


def test_a_torn_checkpoint_is_refused_by_name(teacher, images, tmp_path):
    with pytest.raises(errors.Interrupted):
        run(teacher, images, tmp_path / "out", on_progress=stop_at_step(1))
    file = tmp_path / "out" / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(errors.InvalidCheckpoint, match=r"checkpoint\.safetensors"):
        run(teacher, images, tmp_path / "out", resume=True)


def test_checkpoints_are_announced_as_they_are_written(teacher, images, tmp_path):
    announced = []

    def note(progress):
        if progress.checkpoint is not None:
            announced.append((progress.step, progress.checkpoint.exists()))

    run(teacher, images, tmp_path / "out", on_progress=note, checkpoint_seconds=0)
    assert announced == [(step, True) for step in range(1, 6)]


def test_a_checkpoint_that_cannot_be_written_costs_none_of_the_training(teacher, images, tmp_path):
    told = []
    in_the_way = tmp_path / "out" / "checkpoint.safetensors"

    def hinder(progress):
        if progress.phase == "loading":
            in_the_way.mkdir(parents=True, exist_ok=True)
        if progress.phase == "distilling" and progress.step == 2:
            in_the_way.rmdir()
        told.append(progress.checkpoint_error)

    run(teacher, images, tmp_path / "out", on_progress=hinder, checkpoint_seconds=0)
    failures = [each for each in told if each]
    assert len(failures) == 2
    assert "checkpoint.safetensors could not be written" in failures[0]
    assert (tmp_path / "out" / "student").is_dir()


def test_an_output_folder_with_a_run_in_it_is_not_overwritten(finished, teacher, images):
    _, out = finished
    before = tensors(out)
    for resume in (False, True):
        with pytest.raises(errors.OutputExists, match="finished run"):
            run(teacher, images, out, seed=1, resume=resume)
    assert same(before, tensors(out))


def test_a_stopped_run_is_not_begun_anew_by_mistake(teacher, images, tmp_path):
    with pytest.raises(errors.Interrupted):
        run(teacher, images, tmp_path / "out", on_progress=stop_at_step(2))
    with pytest.raises(errors.OutputExists, match="--resume"):
        run(teacher, images, tmp_path / "out")


def test_a_run_that_was_stopped_while_merging_keeps_its_training(teacher, images, tmp_path):
    run(teacher, images, tmp_path / "whole")

    def stop(progress):
        if progress.phase == "merging":
            raise errors.Interrupted(progress.step)

    with pytest.raises(errors.Interrupted):
        run(teacher, images, tmp_path / "parts", on_progress=stop)
    resumed = run(teacher, images, tmp_path / "parts", resume=True)
    assert resumed.report["training"]["resumed_from_step"] == 6
    assert same(tensors(tmp_path / "whole"), tensors(tmp_path / "parts"))


@pytest.mark.parametrize("stop_at", [None, 2])
def test_the_callers_own_model_is_given_back_as_it_was(teacher, images, tmp_path, stop_at):
    teacher.train().requires_grad_(True)
    teacher.cls_token.requires_grad_(False)
    before = {name: (p.detach().clone(), p.requires_grad) for name, p in teacher.named_parameters()}
    if stop_at is None:
        run(teacher, images, tmp_path / "out")
    else:
        with pytest.raises(errors.Interrupted):
            run(teacher, images, tmp_path / "out", on_progress=stop_at_step(stop_at))
    assert teacher.training
    for name, parameter in teacher.named_parameters():
        assert parameter.equal(before[name][0])
        assert parameter.requires_grad == before[name][1], name
    assert not any(module._forward_hooks for module in teacher.modules())


def test_without_an_output_folder_the_student_stays_in_memory(teacher, images):
    result = run(teacher, images, None)
    assert result.student_dir is None
    assert len(result.student.blocks) == 3


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"compression_factor": 0}, "compression_factor"),
        ({"lora_rank": 0}, "lora_rank"),
        ({"epochs": -1}, "epochs"),
        ({"few_shot_ratio": 0}, "few_shot_ratio"),
        ({"few_shot_ratio": 1.01}, "few_shot_ratio"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"batch_size": 0}, "batch_size"),
        ({"policy": "middle"}, "policy"),
        ({"precision": "fp8"}, "precision"),
        ({"rank": 4}, "rank"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_before_anything_is_read(options, field, tmp_path):
    with pytest.raises(ValidationError) as caught:
        wecolora.distill("no-such-teacher", tmp_path, out=tmp_path / "out", **options)
    assert caught.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression_factor": 7}, "r is 7: it must be from 1 to 6"),
        ({"lora_rank": 49}, "k is 49: it must be from 1 to 48"),
        ({"layers": (2, 9)}, "layers is"),
        ({"image_size": 40}, "image_size is 40"),
    ],
)
def test_a_setting_that_this_teacher_does_not_admit_is_refused_before_training(
    teacher, images, tmp_path, options, message
):
    with pytest.raises(errors.OutOfRange, match=message):
        run(teacher, images, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_rank_is_128_or_the_most_that_the_teacher_admits(teacher, images, tmp_path):
    report = run(teacher, images, tmp_path / "out", lora_rank=None, epochs=1).report
    assert report["student"]["lora_rank"] == 48
    assert wecolora.DistillConfig().rank(768) == 128


def test_an_explicit_list_of_blocks_is_kept(teacher, images, tmp_path):
    result = run(teacher, images, tmp_path / "out", layers=(0, 5), epochs=1)
    assert result.report["student"]["blocks"] == [0, 5]


def test_the_loss_can_be_taken_after_the_final_norm(teacher, images, tmp_path):
    before = run(teacher, images, tmp_path / "before", epochs=1)
    after = run(teacher, images, tmp_path / "after", epochs=1, loss_place="after-norm")
    assert before.report["training"]["initial_loss"] != after.report["training"]["initial_loss"]


def test_bf16_trains_to_nearly_the_same_loss(teacher, images, tmp_path):
    exact = run(teacher, images, tmp_path / "fp32", epochs=4).report["training"]["final_loss"]
    rounded = run(teacher, images, tmp_path / "bf16", epochs=4, precision="bf16").report["training"][
        "final_loss"
    ]
    assert rounded == pytest.approx(exact, rel=0.05)


def test_cuda_where_there_is_none_is_refused(teacher, images, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # also on a machine that has it
    with pytest.raises(errors.DeviceUnavailable):
        run(teacher, images, tmp_path / "out", device="cuda")


def test_a_loss_that_explodes_stops_the_run_with_advice(teacher, images, tmp_path):
    with torch.no_grad():
        teacher.blocks[5].mlp.fc2.weight.mul_(1e38)
    with pytest.raises(errors.NonFiniteLoss, match="lower lr"):
        run(teacher, images, tmp_path / "out")
    assert not (tmp_path / "out" / "student").exists()


def test_a_student_that_does_not_load_back_is_not_delivered(teacher, images, tmp_path, monkeypatch):
    original = timm.models.save_for_hf

    def damaged(model, folder, **options):
        original(model, folder, **options)
        config = json.loads((tmp_path / "out" / ".student.partial" / "config.json").read_text())
        config["model_args"]["depth"] = 2
        (tmp_path / "out" / ".student.partial" / "config.json").write_text(json.dumps(config))

    monkeypatch.setattr("wecolora.export.timm.models.save_for_hf", damaged)
    with pytest.raises(errors.ExportFailed):
        run(teacher, images, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out" / "student").exists()
