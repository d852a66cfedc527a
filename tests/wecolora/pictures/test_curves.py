"""Curves of a run and of a sweep."""

import json

import numpy as np
import pytest

from wecolora import errors, write_rank_picture
from wecolora.pictures.curves import draw_curves, read_curves, smoothed
from wecolora.pictures.figures import DARK, LIGHT, to_png


def write_metrics(folder, steps):
    file = folder / "metrics.jsonl"
    lines = [
        json.dumps(
            {"step": n + 1, "epoch": n // 10, "loss": 1 / (n + 1), "learning_rate": 1e-3, "new": "key"}
        )
        for n in range(steps)
    ]
    file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize("steps", [1, 2, 200])
def test_short_and_long_runs_are_drawn(tmp_path, steps):
    curves = read_curves(write_metrics(tmp_path, steps))
    assert curves.steps[-1] == steps
    assert curves.losses[0] == 1.0
    assert to_png(draw_curves(curves, LIGHT)) != to_png(draw_curves(curves, DARK))


def test_a_line_that_is_half_written_is_left_out(tmp_path):
    file = write_metrics(tmp_path, 3)
    with file.open("a") as lines:
        lines.write('\n{"step": 4, "lo')
    assert read_curves(file).steps == (1, 2, 3)


def test_without_the_file_there_is_no_run(tmp_path):
    with pytest.raises(errors.NoRun, match="holds no finished run"):
        read_curves(tmp_path / "metrics.jsonl")


def test_the_running_mean_keeps_the_level_and_loses_the_noise():
    losses = 2 + np.random.default_rng(0).normal(size=400)
    mean = smoothed(losses.tolist())
    assert mean is not None
    assert len(mean) == 400
    assert mean.mean() == pytest.approx(losses.mean(), abs=0.05)
    assert mean.std() < losses.std() / 2
    assert smoothed([1.0] * 10) is None


def row(k, accuracy, loss=0.5, r=2):
    interval = None if accuracy is None else [accuracy - 0.05, accuracy + 0.05]
    return {
        "run": f"r{r}-k{k}", "r": r, "k": k, "varied": {"loss_place": "after-norm"}, "accuracy": accuracy,
        "mean_auc": None, "confidence_interval": interval, "final_loss": loss,
    }  # fmt: skip


def write_sweep(folder, rows, teacher=None):
    (folder / "sweep.json").write_text(json.dumps({"rows": rows, "teacher": teacher}))


def test_a_sweep_is_drawn_with_a_line_for_each_r_and_the_teacher(tmp_path):
    write_sweep(tmp_path, [row(8, 0.5), row(16, 0.6), row(8, 0.4, r=3)], {"accuracy": 0.9})
    picture, data = write_rank_picture(tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    content = json.loads(data.read_text())
    assert content["value"] == "probe accuracy, %"
    assert content["references"] == {"teacher": 0.9}
    assert {point["series"] for point in content["points"]} == {
        "r = 2, loss_place after-norm",
        "r = 3, loss_place after-norm",
    }


def test_without_labels_the_loss_is_drawn_and_without_either_nothing(tmp_path):
    write_sweep(tmp_path, [row(8, None), row(16, None, loss=0.4)])
    assert json.loads(write_rank_picture(tmp_path)[1].read_text())["value"] == "loss of the last epoch"
    write_sweep(tmp_path, [row(8, None, loss=None)])
    assert write_rank_picture(tmp_path) == []


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(errors.NoRun):
        write_rank_picture(tmp_path)
