"""Blocks refitted in closed form, and blocks chosen by their measured effect."""

import pytest
import torch

import wecolora
from tests.wecolora.conftest import SHAPE, make_teacher, run, write_images
from tests.wecolora.test_families import family  # noqa: F401  (a fixture)
from wecolora import copy_weights, errors
from wecolora.block_choice import measure_blocks
from wecolora.closed_form import reached, refit_blocks
from wecolora.images import load_images
from wecolora.losses import TokenReader, feature_l1
from wecolora.methods.base import group_ends
from wecolora.normal_equations import NormalEquations
from wecolora.teachers import preprocessing_of
from wecolora.views import AugmentedImages


def distance(student, teacher, images):
    with torch.no_grad(), TokenReader(teacher).attached() as theirs, TokenReader(student).attached() as ours:
        return float(feature_l1(ours(images), theirs(images)))


def batches(size=32, count=8):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(6, 3, size, size, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("depth", "blocks", "ends"),
    [
        (12, (1, 3, 5, 7, 9, 11), (1, 3, 5, 7, 9, 11)),
        (12, (0, 2, 4, 6, 8, 10), (1, 3, 5, 7, 9, 11)),
        (12, (0, 2, 4, 7, 9, 11), (1, 3, 6, 8, 10, 11)),
        (12, (4, 9), (4, 11)),
        (7, (3,), (6,)),
        (1, (0,), (0,)),
    ],
)
def test_every_kept_block_stands_for_its_group_and_the_last_for_the_end_of_the_teacher(depth, blocks, ends):
    assert group_ends(depth, blocks) == ends


@pytest.mark.parametrize(
    ("depth", "blocks", "ends"),
    [
        (12, (1, 3, 5, 7, 8, 11), (2, 4, 6, 7, 10, 11)),
        (12, (0, 2, 4, 7, 9, 11), (1, 3, 6, 8, 10, 11)),
        (7, (3,), (6,)),
    ],
)
def test_a_refitted_block_reaches_as_far_as_the_place_of_the_next(depth, blocks, ends):
    assert reached(depth, blocks) == ends


def test_a_refit_brings_the_student_nearer_to_the_teacher_in_every_family(family):  # noqa: F811
    teacher, images = family
    size = images.shape[-1]
    blocks = (0, 2, 4)
    student = copy_weights(teacher, blocks)
    before = distance(student, teacher, images)
    fits = refit_blocks(student, teacher, batches(size), reached(5, blocks))
    assert [fit.end for fit in fits] == [1, 3, 4]
    assert all(fit.l1_after < fit.l1_before for fit in fits)
    assert distance(student, teacher, images) < 0.97 * before  # images that the refit has not seen


def test_passes_in_bf16_give_nearly_the_same_refit(teacher):
    images = batches()[0]
    students = {precision: copy_weights(teacher, (0, 2, 4)) for precision in ("fp32", "bf16")}
    copied = distance(students["fp32"], teacher, images)
    for precision, student in students.items():
        refit_blocks(student, teacher, batches(), (1, 3, 5), precision=precision)
    exact, rounded = (distance(student, teacher, images) for student in students.values())
    assert exact < 0.97 * copied
    assert exact != rounded, "the passes were not in bf16"
    assert rounded - exact < 0.1 * (copied - exact)


def test_a_group_that_one_linear_layer_explains_is_found_exactly(teacher):
    """The skipped block adds a constant only, which the kept block's bias can add."""
    with torch.no_grad():
        for layer in (teacher.blocks[1].attn.proj, teacher.blocks[1].mlp.fc2):
            layer.weight.zero_()
    student = copy_weights(teacher, (0, 2, 3, 4, 5))
    refit_blocks(student, teacher, batches(), (1, 2, 3, 4, 5), ridge=1e-3)
    assert distance(student, teacher, batches()[0]) < 1e-4


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-5)], ids=["float32", "bf16"]
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_equations_give_the_ridge_solution_of_all_rows(bias, dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(900, 3, bias=bias)
    with torch.no_grad():
        layer.weight.zero_()
        if bias:
            layer.bias.zero_()
    inputs, missing = (torch.randn(4, 300, width, generator=generator) + 0.5 for width in (900, 3))
    inputs = inputs.to(dtype)  # what a layer reads in this precision
    equations = NormalEquations.empty(layer)
    for some, wanted in zip(inputs, missing, strict=True):
        equations.add(some, wanted)
    rows, goal = inputs.flatten(0, 1).double(), missing.flatten(0, 1).double()
    ridge = 0.1 * rows.square().sum() / 900  # relative to the mean of the diagonal
    columns = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1) if bias else rows
    damping = ridge.sqrt() * torch.eye(900, columns.shape[1], dtype=torch.float64)  # none on the bias
    stacked = torch.cat([columns, damping])
    expected = torch.linalg.lstsq(stacked, torch.cat([goal, goal.new_zeros(900, 3)])).solution.T
    change = equations.solve(0.1)
    assert torch.allclose(change, expected, atol=tolerance)
    left = (goal - columns @ change.T).square().sum()
    assert equations.residual(change) == pytest.approx(float(left), rel=10 * tolerance)


def test_a_full_student_needs_no_refit_and_keeps_its_weights_nearly(teacher):
    student = copy_weights(teacher, range(6))
    refit_blocks(student, teacher, batches(), range(6))
    for name, tensor in student.state_dict().items():
        assert torch.allclose(tensor, teacher.state_dict()[name], atol=1e-5), name


def test_a_block_whose_last_norm_hides_its_last_layer_is_refused_with_the_way_out():
    teacher = make_teacher("vit_relpos_base_patch32_plus_rpn_256", img_size=64, depth=4, **SHAPE)
    student = copy_weights(teacher, (0, 2))
    with pytest.raises(errors.UnsupportedArchitecture, match="init=copy"):
        refit_blocks(student, teacher, batches(64), (1, 3))


def views_of(teacher, folder, count=8):
    found = load_images(write_images(folder, count), 32)
    return AugmentedImages(found, preprocessing_of(teacher), seed=0)


def test_measured_blocks_leave_out_those_that_do_nothing(teacher, tmp_path):
    with torch.no_grad():
        for block in (1, 4):
            for layer in (teacher.blocks[block].attn.proj, teacher.blocks[block].mlp.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
    kept = measure_blocks(teacher, views_of(teacher, tmp_path / "few"), 4, torch.device("cpu"))
    assert kept == (0, 2, 3, 5)


def test_a_run_with_the_closed_form_reports_the_refit_and_its_adapter_gives_the_student_back(
    teacher, images, tmp_path
):
    result = run(teacher, images, tmp_path / "out", recipe="best")
    refit = result.report["refit"]
    assert len(refit) == 3
    assert all(fit["l1_after"] < fit["l1_before"] for fit in refit)
    assert [fit["end"] for fit in refit] == [2, 4, 5]
    again = wecolora.merge_lora(wecolora.load_adapter(teacher, tmp_path / "out" / "adapter.safetensors"))
    for name, tensor in result.student.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_the_instant_recipe_trains_nothing_and_delivers(teacher, images, tmp_path):
    report = run(teacher, images, tmp_path / "out", recipe="instant", epochs=None).report
    assert report["training"]["optimiser_steps"] == 0
    assert report["training"]["initial_loss"] is None
    assert report["student"]["trainable_parameters"] == 0
    assert (tmp_path / "out" / "student" / "model.safetensors").exists()
    assert (tmp_path / "out" / "metrics.jsonl").read_text() == ""


def test_a_stopped_run_goes_on_from_its_refitted_blocks_without_refitting_them(teacher, images, tmp_path):
    options = {"recipe": "best", "policy": "measured", "views": 2, "epochs": 3}
    whole = run(teacher, images, tmp_path / "whole", **options)

    def stop(progress):
        if progress.phase == "distilling" and progress.step == 4:
            raise errors.Interrupted(progress.step)

    with pytest.raises(errors.Interrupted):
        run(teacher, images, tmp_path / "out", on_progress=stop, **options)
    seen = []
    resumed = run(
        teacher, images, tmp_path / "out", resume=True, on_progress=lambda p: seen.append(p.phase), **options
    )
    assert "preparing" not in seen
    assert resumed.report["student"]["blocks"] == whole.report["student"]["blocks"]
    assert resumed.report["refit"] == whole.report["refit"]
    for name, tensor in whole.student.state_dict().items():
        assert torch.equal(tensor, resumed.student.state_dict()[name]), name
