"""Several runs of one teacher."""

import csv
import json
import re

import pytest
from typer.testing import CliRunner

from tests.wecolora.test_probe import write_classes
from wecolora import errors, run_sweep
from wecolora.cli import app

FIXED = {"epochs": 1, "batch_size": 12, "recipe": "paper", "device": "cpu"}


def sweep(teacher, images, out, **more):
    """Two ranks, unless said otherwise."""
    keywords = {
        name: more.pop(name) for name in ("train", "test", "resume", "on_run", "on_progress") if name in more
    }
    return run_sweep(teacher, images, out, FIXED | {"lora_rank": [4, 8]} | more, **keywords)


def test_every_combination_is_run_and_tabled(teacher_folder, images, tmp_path):
    result = sweep(teacher_folder, images, tmp_path / "out", compression_factor=[2, 3])
    assert [(row.run, row.r, row.k, row.blocks) for row in result.rows] == [
        ("r2-k4", 2, 4, 3), ("r3-k4", 3, 4, 2), ("r2-k8", 2, 8, 3), ("r3-k8", 3, 8, 2),
    ]  # fmt: skip
    assert result.rows[2].trainable_parameters == 2 * result.rows[0].trainable_parameters
    assert all(
        (tmp_path / "out" / row.run / "student" / "model.safetensors").is_file() for row in result.rows
    )
    with (tmp_path / "out" / "sweep.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert [line["k"] for line in table] == ["4", "4", "8", "8"]
    assert float(table[0]["final_loss"]) == result.rows[0].final_loss
    stored = json.loads((tmp_path / "out" / "sweep.json").read_text())["rows"]
    assert stored == [row.to_dict() for row in result.rows]


def test_other_options_that_vary_name_their_runs(teacher, images, tmp_path):
    result = sweep(teacher, images, tmp_path / "out", lora_rank=4, loss_place=["before-norm", "after-norm"])
    assert [row.run for row in result.rows] == ["r2-k4-loss_place-before-norm", "r2-k4-loss_place-after-norm"]
    assert [row.varied for row in result.rows] == [
        {"loss_place": "before-norm"},
        {"loss_place": "after-norm"},
    ]
    assert result.rows[0].final_loss != result.rows[1].final_loss


def test_labels_give_an_accuracy_for_the_teacher_and_each_student(teacher_folder, images, tmp_path):
    result = sweep(
        teacher_folder,
        images,
        tmp_path / "out",
        train=write_classes(tmp_path / "train", count=6),
        test=write_classes(tmp_path / "test", count=4, seed=1),
    )
    assert result.teacher is not None
    assert result.teacher["accuracy"] == 1
    assert [row.accuracy for row in result.rows] == [1, 1]
    assert all(row.confidence_interval for row in result.rows)


def test_a_stopped_sweep_goes_on_where_it_stopped(teacher_folder, images, tmp_path):
    out = tmp_path / "out"
    begun = []

    def stop_in_the_second_run(progress):
        if len(begun) == 2 and progress.phase == "distilling":
            raise errors.Interrupted(progress.step)

    with pytest.raises(errors.Interrupted):
        sweep(
            teacher_folder,
            images,
            out,
            on_run=lambda run, number, total: begun.append((run.name, number, total)),
            on_progress=stop_in_the_second_run,
        )
    assert begun == [("r2-k4", 1, 2), ("r2-k8", 2, 2)]
    assert (out / "r2-k8" / "checkpoint.safetensors").is_file()
    first = (out / "r2-k4" / "report.json").stat().st_mtime_ns
    with pytest.raises(errors.OutputExists, match="--resume"):
        sweep(teacher_folder, images, out)

    begun.clear()
    result = sweep(teacher_folder, images, out, resume=True, on_run=lambda run, *_: begun.append(run.name))
    assert begun == ["r2-k8"]
    assert (out / "r2-k4" / "report.json").stat().st_mtime_ns == first
    straight = sweep(teacher_folder, images, tmp_path / "straight")
    assert [row.final_loss for row in result.rows] == [row.final_loss for row in straight.rows]


def test_a_sweep_can_be_widened(teacher_folder, images, tmp_path):
    sweep(teacher_folder, images, tmp_path / "out", lora_rank=[4])
    begun = []
    result = sweep(
        teacher_folder,
        images,
        tmp_path / "out",
        lora_rank=[4, 6],
        resume=True,
        on_run=lambda run, *_: begun.append(run.name),
    )
    assert begun == ["r2-k6"]
    assert [row.k for row in result.rows] == [4, 6]


def test_other_settings_images_or_teachers_are_not_mixed_into_a_sweep(
    teacher, teacher_folder, images, tmp_path
):
    out = tmp_path / "out"
    sweep(teacher_folder, images, out, lora_rank=[4])
    with pytest.raises(errors.CheckpointMismatch, match="epochs was 1 and is 2"):
        sweep(teacher_folder, images, out, lora_rank=[4], epochs=2, resume=True)
    with pytest.raises(errors.CheckpointMismatch, match="teacher was"):
        sweep(teacher, images, out, lora_rank=[4], resume=True)
    next(iter(images.iterdir())).unlink()
    with pytest.raises(errors.CheckpointMismatch, match="images was 24 and is 23"):
        sweep(teacher_folder, images, out, lora_rank=[4], resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_rank": [4, 49]}, "k is 49: it must be from 1 to 48"),
        ({"lora_rank": [4, 0]}, "k is 0: it must be at least 1"),
        ({"compression_factor": [2, 7]}, "r is 7: it must be from 1 to 6"),
        ({"learning_rate": [1e-3, 2.0]}, "lr is 2.0"),
        ({"loss_place": ["before-norm", "nowhere"]}, "loss_place is 'nowhere'"),
        ({"image_size": [32, 40]}, "image_size is"),
        ({"layers": (1, 9)}, "layers is"),
        ({"no_such_option": 1}, "one of the fields"),
    ],
)
def test_a_fault_anywhere_in_the_grid_is_found_before_the_first_run(
    teacher, images, tmp_path, options, message
):
    with pytest.raises(errors.OutOfRange, match=re.escape(message)):
        sweep(teacher, images, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_missing_images_and_labels_are_found_before_the_first_run(teacher, images, tmp_path):
    with pytest.raises(errors.NoImages):
        sweep(teacher, tmp_path / "absent", tmp_path / "out")
    with pytest.raises(errors.WecoloraError):
        sweep(teacher, images, tmp_path / "out", train=images)
    assert not (tmp_path / "out").exists()


def test_the_command_takes_the_options_of_distill_with_several_values(teacher_folder, images, tmp_path):
    arguments = [
        "sweep", images, "--teacher", teacher_folder, "--out", tmp_path / "out", "--k", "4, 8", "--layers", "1,3",
        "--epochs", 1, "--batch-size", 12, "--lr", "1e-3", "--loss-place", "after-norm", "--recipe", "paper", "--plot",
        "--json",
    ]  # fmt: skip
    done = CliRunner().invoke(app, [str(part) for part in arguments])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert [(row["k"], row["blocks"]) for row in rows] == [(4, 2), (8, 2)]
    config = json.loads((tmp_path / "out" / "r2-k4" / "report.json").read_text())["config"]
    assert (config["loss_place"], config["layers"], config["learning_rate"]) == ("after-norm", [1, 3], 1e-3)
    assert (tmp_path / "out" / "ranks.png").is_file()


def test_the_command_exits_with_2_and_names_the_option(teacher_folder, images, tmp_path):
    arguments = ["sweep", images, "--teacher", teacher_folder, "--out", tmp_path / "out", "--k", "4,400"]
    done = CliRunner().invoke(app, [str(part) for part in arguments])
    assert done.exit_code == 2
    assert "k is 400: it must be from 1 to 48" in " ".join(done.stderr.split())


def test_help_shows_the_options_of_distill():
    done = CliRunner().invoke(app, ["sweep", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 0
    for option in ("--k ", "--r ", "--lr ", "--loss-place", "--method", "--weight-decay"):
        assert option in done.stdout
