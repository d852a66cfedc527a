"""The command line, as real processes."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import timm
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.wecolora.conftest import SHAPE, make_teacher, write_images
from tests.wecolora.test_probe import write_classes
from wecolora.choices import BlockPolicy, Method, Recipe
from wecolora.cli import app
from wecolora.config import OPTION_NAMES, DistillConfig


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    model = make_teacher(depth=4, img_size=32, patch_size=8, num_classes=3, **SHAPE)
    timm.models.save_for_hf(model, str(folder / "teacher"), safe_serialization=True)
    write_images(folder / "images", 40)
    write_classes(folder / "train")
    write_classes(folder / "test", seed=1)
    return folder


def command(*arguments):
    return [sys.executable, "-m", "wecolora", *map(str, arguments)]


def call(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240, check=False)


def options(folder, out, *more):
    return ("distill", folder / "images", "--teacher", folder / "teacher", "--out", folder / out,
            "--r", 2, "--k", 8, "--epochs", 2, "--batch-size", 8, *more)  # fmt: skip


def test_distill_probe_and_inspect_work_one_after_the_other(workplace):
    done = call(*options(workplace, "first"))
    assert done.returncode == 0, done.stderr
    assert "Method wecolora, recipe best with epochs 2." in done.stdout
    assert "2 blocks refitted; L1 from the teacher" in done.stdout
    assert "10 optimiser steps on 40 images" in done.stdout
    assert 'timm.create_model("local-dir:' in done.stdout

    probe = call("probe", workplace / "first" / "student", "--train", workplace / "train",
                 "--test", workplace / "test", "--json")  # fmt: skip
    assert probe.returncode == 0, probe.stderr
    assert json.loads(probe.stdout)["accuracy"] == 1.0

    shown = call("inspect", workplace / "first" / "student", "--json")
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert facts["depth"] == 2
    assert facts["trainable_parameters"] == 2 * 8 * (4 * 96 + 2 * 240)
    assert facts["file_size_bytes"] == (workplace / "first" / "student" / "model.safetensors").stat().st_size


def test_a_run_without_training_says_so(workplace):
    more = ("--epochs", 0, "--r", 4, "--k", 4)
    instant = CliRunner().invoke(
        app, [str(part) for part in options(workplace, "instant", "--recipe", "instant", *more)]
    )
    assert instant.exit_code == 0, instant.output
    said = " ".join(instant.stdout.split())
    assert "Method wecolora, recipe instant." in said
    assert "1 blocks refitted" in said
    assert "No training; 40 images." in said
    assert 'timm.create_model("local-dir:' in said


def test_a_baseline_takes_the_papers_recipe_and_tells_what_was_changed(workplace):
    more = ("--method", "weco-kd", "--loss", "cosine", "--loss-place", "after-norm", "--normalise-targets")
    done = CliRunner().invoke(app, [str(part) for part in options(workplace, "baseline", *more)])
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "Method weco-kd, recipe paper with epochs 2, loss cosine, loss_place after-norm." in said
    assert "refitted" not in said
    assert not (workplace / "baseline" / "adapter.safetensors").exists()


def test_every_setting_is_an_option_with_help_in_a_panel():
    shown = CliRunner().invoke(app, ["distill", "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for field in DistillConfig.model_fields:
        flag = f"--{OPTION_NAMES.get(field, field).replace('_', '-')}"
        (line,) = [line for line in shown.stdout.splitlines() if re.match(rf"│ +{flag} ", line)]
        assert len(line.strip("│ ").split()) > 3, line
    for panel in ("Basics", "Method", "Student", "Closed form", "Training", "Loss", "Machine"):
        assert f"─ {panel} ─" in shown.stdout
    assert "─ Others ─" not in shown.stdout, "say in wecolora/cli/options.py what the new option is for"
    for choice in (*Method, *Recipe, *BlockPolicy, "1 to 1000", "instant: 0"):
        assert choice in shown.stdout


def test_ctrl_c_keeps_a_checkpoint_and_resume_ends_with_the_same_student(workplace):
    long = ("--epochs", 40)
    whole = call(*options(workplace, "whole", *long))
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        command(*options(workplace, "parts", *long)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = workplace / "parts" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 3):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume" in said
    assert not (workplace / "parts" / "student").exists()

    refused = call(*options(workplace, "parts", *long))
    assert refused.returncode == 2
    assert "--resume" in refused.stderr

    resumed = call(*options(workplace, "parts", *long, "--resume", "--json"))
    assert resumed.returncode == 0, resumed.stderr
    assert 3 <= json.loads(resumed.stdout)["training"]["resumed_from_step"] < 200
    weights = [load_file(workplace / name / "student" / "model.safetensors") for name in ("whole", "parts")]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--r", 5), "r is 5: it must be from 1 to 4"),
        (("--r", 0), "r is 0: it must be at least 1"),
        (("--k", 49), "k is 49: it must be from 1 to 48"),
        (("--epochs", -1), "epochs is -1: it must be at least 0"),
        (("--epochs", 0, "--method", "kd"), "epochs is 0: it must be at least 1 (only wecolora"),
        (("--recipe", "instant", "--method", "weco-kd"), "recipe is 'instant': it must be paper or best"),
        (("--recipe", "grandma"), "recipe is 'grandma': it must be paper or best or instant"),
        (("--method", "magic"), "method is 'magic': it must be wecolora or weco-kd or kd"),
        (
            ("--refit-views", 9, "--init", "copy"),
            "refit_views is 9: it must be left out (only init closed-form",
        ),
        (("--mask-ratio", 0.5), "mask_ratio is 0.5: it must be left out (only method dmae"),
        (("--mask-ratio", 1), "mask_ratio is 1.0: it must be more than 0 and less than 1"),
        (("--loss", "l2"), "loss is 'l2': it must be l1 or smooth-l1 or cosine"),
        (("--epochs", "many"), "Invalid value for '--epochs'"),
        (("--lr", 0), "lr is 0.0: it must be more than 0"),
        (("--batch-size", 0), "batch_size is 0: it must be at least 1"),
        (("--few-shot-ratio", 1.5), "few_shot_ratio is 1.5: it must be more than 0 and at most 1"),
        (("--precision", "fp8"), "precision is 'fp8': it must be auto or fp32 or bf16"),
        (
            ("--policy", "middle"),
            "policy is 'middle': it must be last-of-group or first-of-group or middle-of-group or both-ends "
            "or measured",
        ),
        (("--layers", "1,x"), "--layers is '1,x'"),
        (("--mean", "0.5,0.5"), "mean is [0.5, 0.5]: it must be three numbers from 0 to 1"),
        (("--layers", "1,1"), "layers is [1, 1]"),
        (("--image-size", 33), "image_size is 33: it must be a multiple of 8"),
        (("--warmup-epochs", 2), "warmup_epochs is 2.0: it must be less than epochs (2)"),
        (("--seed", -1), "seed is -1"),
        (("--teacher", "no_such_model"), "'no_such_model' is neither a timm model name"),
        (("--teacher", "convnext_tiny"), "convnext_tiny cannot be a teacher"),
        (("--rank", 4), "No such option"),
    ],
)
def test_a_bad_option_exits_with_2_and_names_it_and_its_range(workplace, more, message):
    done = CliRunner().invoke(app, [str(part) for part in options(workplace, "refused", *more)])
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert not (workplace / "refused").exists()


def test_a_bad_option_is_refused_in_a_process_of_its_own_without_a_traceback(workplace):
    done = call(*options(workplace, "refused", "--r", 0))
    assert done.returncode == 2
    assert done.stderr == "Error: r is 0: it must be at least 1 and at most 1000.\n"


def test_a_folder_without_images_exits_with_2(workplace, tmp_path):
    done = call("distill", tmp_path, "--teacher", workplace / "teacher", "--out", tmp_path / "out", "--k", 8)
    assert done.returncode == 2
    assert "no image files" in " ".join(done.stderr.split())


def test_help_does_not_load_torch():
    script = "import sys; import wecolora.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
