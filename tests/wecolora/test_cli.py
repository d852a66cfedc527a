"""The command line, as real processes."""

import json
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
from wecolora.cli import app


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
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def options(folder, out, *more):
    return ("distill", folder / "images", "--teacher", folder / "teacher", "--out", folder / out,
            "--r", 2, "--k", 8, "--epochs", 2, "--batch-size", 8, *more)  # fmt: skip


def test_distill_probe_and_inspect_work_one_after_the_other(workplace):
    done = call(*options(workplace, "first"))
    assert done.returncode == 0, done.stderr
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


def test_ctrl_c_keeps_a_checkpoint_and_resume_ends_with_the_same_student(workplace):
    long = ("--epochs", 60)
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
    assert 3 <= json.loads(resumed.stdout)["training"]["resumed_from_step"] < 300
    weights = [load_file(workplace / name / "student" / "model.safetensors") for name in ("whole", "parts")]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--r", 5), "r is 5: it must be from 1 to 4"),
        (("--r", 0), "r is 0: it must be at least 1"),
        (("--k", 49), "k is 49: it must be from 1 to 48"),
        (("--epochs", 0), "epochs is 0: it must be at least 1"),
        (("--lr", 0), "lr is 0.0: it must be more than 0"),
        (("--batch-size", 0), "batch_size is 0: it must be at least 1"),
        (("--few-shot-ratio", 1.5), "few_shot_ratio is 1.5: it must be more than 0 and at most 1"),
        (("--precision", "fp8"), "precision is 'fp8': it must be auto or fp32 or bf16"),
        (("--policy", "middle"), "policy is 'middle': it must be last-of-group or first-of-group"),
        (("--layers", "1,x"), "--layers is '1,x'"),
        (("--mean", "0.5,0.5"), "mean is [0.5, 0.5]: it must be three numbers from 0 to 1"),
        (("--layers", "1,1"), "layers is [1, 1]"),
        (("--image-size", 33), "image_size is 33: it must be a multiple of 8"),
        (("--warmup-epochs", 2), "warmup_epochs is 2.0: it must be less than epochs (2)"),
        (("--seed", -1), "seed is -1"),
        (("--teacher", "no_such_model"), "'no_such_model' is neither a timm model name"),
        (("--teacher", "resnet18"), "resnet18 cannot be a teacher"),
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
