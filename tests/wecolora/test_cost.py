"""Parameters, multiply-accumulates, latency and file size."""

import pytest
import timm
import torch

import wecolora
from wecolora import add_lora, copy_weights, count_gmacs, inspect_model, inspect_models, select_blocks


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
