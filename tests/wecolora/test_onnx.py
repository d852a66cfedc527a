"""What an ONNX runtime answers is what torch answers."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from tests.wecolora.conftest import run
from wecolora.errors import OnnxFailed
from wecolora.onnx_export import export_onnx
from wecolora.teachers import preprocessing_of
from wecolora.torchvision_compat import timm

MODELS = {
    "vit_tiny_patch16_224": {"img_size": 48, "depth": 1, "num_classes": 7},
    "vit_small_patch14_reg4_dinov2": {"img_size": 42, "depth": 1},
    "resnet18": {"layers": (1, 1, 1, 1), "num_classes": 3},
}


@pytest.mark.parametrize("name", MODELS)
def test_an_onnx_runtime_answers_as_the_student_for_any_number_of_images(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = timm.create_model(name, **MODELS[name]).eval()
    file = export_onnx(student, tmp_path / "student.onnx", {"seed": 3})
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    side = preprocessing_of(student).size
    for count in (1, 3):
        images = torch.randn(count, 3, side, side)
        with torch.no_grad():
            expected = student(images).numpy()
        (found,) = session.run(["output"], {"images": images.numpy()})
        np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())
    told = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert (told["image_size"], told["seed"]) == (str(side), "3")
    assert told["mean"] == str(preprocessing_of(student).mean)


def test_a_run_delivers_it_where_it_is_asked_for(teacher: nn.Module, images: Path, tmp_path: Path) -> None:
    result = run(teacher, images, tmp_path / "out", onnx=True)
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "student.onnx", providers=["CPUExecutionProvider"]
    )
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = result.student(pixels).numpy()
    (found,) = session.run(None, {"images": pixels.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert result.report["onnx"] == {"file": "student.onnx", "input": "images", "output": "output"}


def test_a_student_that_onnx_cannot_hold_is_delivered_all_the_same(
    teacher: nn.Module, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wecolora.onnx_export.MOST_BYTES", 1000)
    result = run(teacher, images, tmp_path / "out", onnx=True)
    assert (tmp_path / "out" / "student" / "model.safetensors").exists()
    assert not (tmp_path / "out" / "student.onnx").exists()
    assert "one ONNX file holds 2" in result.report["onnx"]["reason"]


class Wilful(nn.Module):
    """Answers by what is in the images, which no exporter can follow."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.pretrained_cfg = student.pretrained_cfg
        self.patch_embed = student.patch_embed

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.student(images)
        return answer if float(images.sum()) > 0 else -answer


def test_what_the_exporter_cannot_express_is_said_and_leaves_no_file(
    teacher: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(OnnxFailed, match=r"There is no student\.onnx"):
        export_onnx(Wilful(teacher), tmp_path / "student.onnx")
    assert list(tmp_path.iterdir()) == []
