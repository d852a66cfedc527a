"""Several processes that share every micro-batch."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.wecolora.conftest import run, write_images
from tests.wecolora.test_distillation import metrics, stop_at_step, tensors
from wecolora import errors
from wecolora.ranks import Ranks

pytestmark = pytest.mark.timeout(180)
OPTIONS = {"epochs": 3, "batch_size": 5, "accumulate": 2, "recipe": "paper", "device": "cpu"}


def losses(out):
    return [line["loss"] for line in metrics(out)]


@pytest.fixture
def alone(teacher_folder, images, tmp_path):
    run(teacher_folder, images, tmp_path / "alone", **OPTIONS)
    return tmp_path / "alone"


def test_shares_of_a_micro_batch_are_all_of_it_and_as_equal_as_can_be():
    keys = [(0, image) for image in range(11)]
    shares = [Ranks(rank, 4).share(keys) for rank in range(4)]
    assert sorted(itertools.chain(*shares)) == keys
    assert [len(share) for share in shares] == [3, 3, 3, 2]
    assert Ranks().share(keys) == keys


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"recipe": "best", "epochs": 2, "views": 1},
        {"method": "deit", "pseudo_labels": "soft"},
    ],
    ids=lambda more: "-".join(map(str, more.values())) or "paper",
)
def test_two_processes_take_the_same_steps_as_one(more, teacher_folder, images, tmp_path):
    options = OPTIONS | more
    alone = run(teacher_folder, images, tmp_path / "alone", **options)
    result = run(teacher_folder, images, tmp_path / "together", **options, devices=2)
    assert result.report["training"]["devices"] == 2
    assert losses(tmp_path / "together") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    ours, theirs = tensors(tmp_path / "together"), tensors(tmp_path / "alone")
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=2e-4), name
    trained = [each.report["student"]["trainable_parameters"] for each in (alone, result)]
    assert trained[0] == trained[1]


def test_fewer_images_than_processes_still_train(teacher_folder, tmp_path):
    images = write_images(tmp_path / "one", 1)
    run(teacher_folder, images, tmp_path / "alone", **OPTIONS)
    run(teacher_folder, images, tmp_path / "together", **OPTIONS, devices=2)
    assert losses(tmp_path / "together") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)


def test_a_stopped_run_goes_on_with_another_number_of_processes(alone, teacher_folder, images, tmp_path):
    with pytest.raises(errors.Interrupted):
        run(teacher_folder, images, tmp_path / "out", **OPTIONS, devices=2, on_progress=stop_at_step(2))
    assert not followers(), "a process was left behind"
    result = run(teacher_folder, images, tmp_path / "out", **OPTIONS, resume=True)
    assert result.report["training"]["resumed_from_step"] == 2
    assert losses(tmp_path / "out") == pytest.approx(losses(alone), rel=1e-4)


def test_a_process_that_dies_fails_the_run_with_its_number_and_leaves_the_checkpoint(
    teacher_folder, images, tmp_path
):
    def kill_the_other(progress):
        if progress.phase == "distilling" and progress.step == 2:
            for process in followers():
                os.kill(process, signal.SIGKILL)

    with pytest.raises(errors.RankFailed, match="process 1") as failed:
        run(
            teacher_folder, images, tmp_path / "out", **OPTIONS | {"epochs": 50}, devices=2,
            on_progress=kill_the_other, checkpoint_seconds=0,
        )  # fmt: skip
    assert failed.value.rank == 1
    resumed = run(teacher_folder, images, tmp_path / "out", **OPTIONS | {"epochs": 50}, resume=True)
    assert resumed.report["training"]["resumed_from_step"] >= 2


def test_images_that_change_meanwhile_are_noticed(teacher_folder, images, tmp_path, monkeypatch):
    """The other process reads the folder for itself, later; a run on two sets of images would be nobody's."""
    started = subprocess.Popen

    def change_and_start(*arguments, **options):
        write_images(images, 1, seed=9, size=(50, 50))
        return started(*arguments, **options)

    monkeypatch.setattr("wecolora.parallel.subprocess.Popen", change_and_start)
    with pytest.raises(errors.RankFailed, match="images was"):
        run(teacher_folder, images, tmp_path / "out", **OPTIONS, devices=2)


def test_more_devices_than_there_are_and_a_model_in_memory_are_refused(
    teacher, teacher_folder, images, tmp_path
):
    with pytest.raises(errors.OutOfRange, match="devices is 64: it must be 1 to"):
        run(teacher_folder, images, tmp_path / "out", **OPTIONS, devices=64)
    with pytest.raises(errors.OutOfRange, match="name, folder or file"):
        run(teacher, images, tmp_path / "out", **OPTIONS, devices=2)
    assert not (tmp_path / "out").exists()


def test_the_others_end_with_the_first_process_however_it_ends(teacher_folder, images, tmp_path):
    command = [
        sys.executable, "-m", "wecolora", "distill", images, "--teacher", teacher_folder, "--out", tmp_path / "out",
        "--recipe", "paper", "--epochs", "10000", "--devices", "2", "--device", "cpu",
    ]  # fmt: skip
    first = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "out" / "metrics.jsonl").exists())
    (other,) = followers(first.pid)
    first.kill()
    first.wait()
    wait_until(lambda: not is_alive(other))


def followers(parent=None):
    """Processes that follow this one, or another."""
    found = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [process for process in found if is_alive(process) and follows(process, parent or os.getpid())]


def follows(process, first):
    try:
        told = Path(f"/proc/{process}/cmdline").read_bytes()
        parent = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"wecolora.follower" in told and int(parent) == first


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
