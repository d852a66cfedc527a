"""A teacher by its timm name: fetched from a hub (a local stand-in here), cached, refused clearly when it is away."""

import os
import subprocess
import sys

import pytest
import timm
from safetensors.torch import save_file

from tests.hub import hub
from tests.wecolora.conftest import make_teacher, write_images

NAME = "test_vit.r160_in1k"


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(make_teacher("test_vit").state_dict(), file)
    return file


def distill(tmp_path, out, **environment):
    arguments = ["distill", tmp_path / "images", "--teacher", NAME, "--out", tmp_path / out, "--k", 8,
                 "--epochs", 1, "--image-size", 32]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "wecolora", *map(str, arguments)],
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1", **environment},  # noqa: TID251
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_teacher_is_fetched_once_and_then_taken_from_the_cache(tmp_path, weights):
    write_images(tmp_path / "images", 4)
    with hub({f"timm/{NAME}/model.safetensors": weights}) as (endpoint, downloads):
        first = distill(tmp_path, "first", HF_ENDPOINT=endpoint)
        assert first.returncode == 0, first.stderr
        assert downloads == [f"timm/{NAME}/model.safetensors"]
    second = distill(tmp_path, "second", HF_HUB_OFFLINE="1")
    assert second.returncode == 0, second.stderr
    student = timm.create_model(f"local-dir:{tmp_path / 'second' / 'student'}", pretrained=True)
    assert len(student.blocks) == 3


def test_a_hub_that_is_away_is_said_so_with_the_ways_out(tmp_path):
    write_images(tmp_path / "images", 4)
    done = distill(tmp_path, "out", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert f"the weights of {NAME} could not be fetched" in said
    assert "HF_ENDPOINT" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
