"""A real pretrained ViT-S/14 and real photographs, through HTTP alone."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import timm
import torch

from tests.e2e.service import ROOT, Service

SHARED = ROOT.parent / "shared"
TEACHER = SHARED / "teachers" / "vits14-objects32.safetensors"
IMAGES = SHARED / "data" / "objects32.tar"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not TEACHER.exists(), reason=f"the reference folder {SHARED} is not there"),
]


def pick(prefix: str, per_folder: int) -> bytes:
    """Zip the first images of every folder below a prefix of the archive."""
    taken: dict[str, int] = {}
    buffer = io.BytesIO()
    with tarfile.open(IMAGES) as tar, zipfile.ZipFile(buffer, "w") as bundle:
        for info in tar:
            name = info.name.removeprefix("objects32/")
            folder = str(Path(name).parent)
            if info.isfile() and name.startswith(prefix) and taken.get(folder, 0) < per_folder:
                taken[folder] = taken.get(folder, 0) + 1
                bundle.writestr(name, tar.extractfile(info).read())
    return buffer.getvalue()


def labelled() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for prefix, per_folder in (("train/", 8), ("test/", 4)):
            with zipfile.ZipFile(io.BytesIO(pick(prefix, per_folder))) as part:
                for name in part.namelist():
                    bundle.writestr(name, part.read(name))
    return buffer.getvalue()


def test_a_real_teacher_is_distilled_over_http_and_its_student_loads_in_timm(
    service: Service, tmp_path: Path
) -> None:
    with TEACHER.open("rb") as weights:
        teacher = service.post(
            "/teachers",
            data={"architecture": "vit_small_patch14_dinov2"},
            files={"file": ("vits14-objects32.safetensors", weights)},
        )
    assert (teacher["image_size"], teacher["depth"], teacher["embed_dim"]) == (56, 12, 384)

    job = service.post(
        "/jobs",
        data={"teacher": teacher["id"], "r": "2", "k": "32", "epochs": "1", "batch_size": "16"},
        files={
            "images": ("unlabelled.zip", pick("unlabelled", 60)),
            "probe": ("labelled.zip", labelled()),
        },
    )
    job = service.wait_for_end(job["id"], 180)
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert result["steps"] == 4
    assert result["teacher"]["probe_accuracy"] > 0.5
    assert 0 <= result["student"]["probe_accuracy"] <= 1
    assert result["student"]["parameters"] < 0.55 * result["teacher"]["parameters"]

    with zipfile.ZipFile(io.BytesIO(service.download(job["id"], "student.zip"))) as bundle:
        bundle.extractall(tmp_path)
    student = timm.create_model(f"local-dir:{tmp_path / 'student'}", pretrained=True).eval()
    assert len(student.blocks) == 6
    with torch.inference_mode():
        assert student.forward_features(torch.zeros(1, 3, 56, 56)).shape == (1, 17, 384)
