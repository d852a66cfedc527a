"""Parameters, multiply-accumulates, latency and file size."""

import json
import re
import sys

import pytest
import timm
import torch
from typer.testing import CliRunner

import wecolora
from wecolora import (
    add_lora,
    copy_weights,
    count_gmacs,
    errors,
    export_student,
    inspect_model,
    inspect_models,
    select_blocks,
)
from wecolora.cli import app


def test_vit_b16_and_its_half_deep_student_cost_what_the_literature_says():
    with torch.device("meta"):
        teacher = timm.create_model("vit_base_patch16_224")
    # 86.6 M parameters; 17.6 GMACs with the attention products.
    assert sum(p.numel() for p in teacher.parameters()) == 86_567_656
    assert count_gmacs(teacher) == pytest.approx(17.56, abs=0.01)
    student = copy_weights(teacher, select_blocks(12, 2))
    assert count_gmacs(student) == pytest.approx(8.84, abs=0.02)
    assert sum(p.numel() for p in student.parameters()) == pytest.approx(44.0e6, abs=0.1e6)


def test_unmerged_pairs_cost_extra_until_they_are_merged(teacher):
    student = copy_weights(teacher, [1, 3])
    plain = count_gmacs(student)
    add_lora(student, 8)
    unmerged = count_gmacs(student)
    tokens, matrices = 17, 4 * 96 + 2 * 240
    assert unmerged - plain == pytest.approx(2 * tokens * 8 * matrices / 1e9, rel=1e-6)
    assert count_gmacs(wecolora.merge_lora(student)) == plain


def test_a_folder_is_measured_by_its_file(teacher, teacher_folder):
    cost = inspect_model(teacher_folder)
    assert cost.file_size_bytes == (teacher_folder / "model.safetensors").stat().st_size
    assert cost.parameters == sum(p.numel() for p in teacher.parameters())
    assert cost.depth == 6
    assert cost.latency_ms > 0


def test_half_the_blocks_take_less_time(teacher):
    costs = inspect_models([teacher, copy_weights(teacher, [0])])
    assert costs[1].latency_ms < costs[0].latency_ms
    assert costs[1].gmacs < costs[0].gmacs


def test_throughput_and_memory_are_left_out_unless_asked_for(teacher):
    assert inspect_model(teacher).batches == ()
    assert inspect_model(teacher).to_dict()["batches"] == []


def test_several_batch_sizes_are_measured_side_by_side(teacher):
    whole, half = inspect_models([teacher, copy_weights(teacher, [0])], "cpu", batch_sizes=(64, 1, 64))
    assert [batch.batch_size for batch in whole.batches] == [1, 64]
    for one, other in zip(whole.batches, half.batches, strict=True):
        assert one.images_per_second is not None
        assert one.latency_ms is not None
        assert one.images_per_second == pytest.approx(1000 * one.batch_size / one.latency_ms)
        assert other.images_per_second is not None
        assert other.images_per_second > one.images_per_second
        assert other.peak_memory_bytes is None, "a model in memory cannot be given to another process"


def test_a_batch_that_memory_does_not_hold_is_left_out_and_the_others_stay(teacher):
    class Hungry(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model
            self.patch_embed = model.patch_embed

        def forward(self, images):
            if len(images) > 1 and images.device.type != "meta":
                torch.empty(1 << 60)
            return self.model(images)

    fits, too_large = inspect_model(Hungry(teacher), "cpu", batch_sizes=(1, 2)).batches
    assert fits.images_per_second is not None
    assert (too_large.latency_ms, too_large.images_per_second) == (None, None)


@pytest.mark.parametrize("size", [0, -1, 5000])
def test_an_impossible_batch_size_is_refused(teacher, size):
    with pytest.raises(errors.OutOfRange, match=f"batch_sizes is {size}: it must be from 1 to 4096"):
        inspect_model(teacher, batch_sizes=(1, size))


def test_the_command_shows_several_models_side_by_side(teacher, teacher_folder, tmp_path):
    export_student(copy_weights(teacher, [1, 3]), tmp_path / "student")
    arguments = ["inspect", str(teacher_folder), str(tmp_path / "student"), "--device", "cpu"]
    table = CliRunner().invoke(app, arguments)
    assert re.search(r"blocks\W+6\W+2\W", table.stdout)
    shown = CliRunner().invoke(app, [*arguments, "--json", "--batch-sizes", "1,512"])
    assert shown.exit_code == 0, shown.output
    models = json.loads(shown.stdout)["models"]
    assert [model["depth"] for model in models] == [6, 2]
    if sys.platform != "linux":
        return
    for model in models:
        small, large = (batch["peak_memory_bytes"] for batch in model["batches"])
        assert small >= 4 * model["parameters"]
        # fc1 and its activation hold 512 images of 17 tokens of 192 numbers of 4 bytes at once.
        assert large > small + 2 * 512 * 17 * 192 * 4
