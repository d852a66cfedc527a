"""A job's probe in the pipeline with the real engine: what it reports, and what it refuses before any training."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.options import JobOptions
from core.settings import Settings
from core.storage import Storage
from samples.digits import DigitsFolders, write_digits
from tests.worker.test_trainer import TEACHER, Recorder
from worker.fetch import Inputs, Probe
from worker.patience import PatientStorage
from worker.protocol import DatasetRef, ErrorMessage, JobSpec, LogMessage, PhaseMessage, ResultMessage
from worker.trainer import distil


@pytest.fixture
def digits(tmp_path: Path) -> DigitsFolders:
    """Few digits: 24 to train with, 6 labelled ones a class in each part."""
    folders = write_digits(tmp_path / "digits")
    for path in sorted(folders.unlabelled.iterdir())[24:]:
        path.unlink()
    for part in (folders.train, folders.test):
        for name in part.iterdir():
            for path in sorted(name.iterdir())[6:]:
                path.unlink()
    return folders


def storage_in(scratch: Path) -> Storage:
    return Storage.from_settings(Settings(data_dir=scratch))


def run(digits: DigitsFolders, scratch: Path) -> Recorder:
    spec = JobSpec(
        job_id="job_1",
        attempt=1,
        teacher=TEACHER,
        teacher_sha256=None,
        options=JobOptions(r=3, k=2, epochs=1, batch_size=8),
        dataset=DatasetRef(id="ds_1", report_key="r"),
        probe=DatasetRef(id="ds_2", report_key="r"),
        checkpoints=[],
        scratch=scratch / "scratch",
        cache=scratch / "cache",
        cache_bytes=1 << 30,
        checkpoint_seconds=60,
    )
    recorder = Recorder()
    worker: Any = recorder
    source = str(Path(__file__).resolve().parents[2] / TEACHER.source)
    names = tuple(f"<b>digit {number}</b>" for number in range(10))
    inputs = Inputs(source, digits.unlabelled, Probe(digits.train, digits.test, names))
    distil(worker, spec, inputs, PatientStorage(storage_in(scratch), 1, worker))
    return recorder


def test_teacher_and_student_are_probed_on_the_same_images(digits: DigitsFolders, tmp_path: Path) -> None:
    recorder = run(digits, tmp_path)
    (result,) = recorder.all(ResultMessage)
    assert result.result["teacher"]["probe_accuracy"] > 0.8
    assert 0 <= result.result["student"]["probe_accuracy"] <= 1
    assert "probing" in [message.phase.value for message in recorder.all(PhaseMessage)]


def test_a_job_delivers_a_page_with_pictures_and_the_owners_names_of_the_classes(
    digits: DigitsFolders, tmp_path: Path
) -> None:
    (result,) = run(digits, tmp_path).all(ResultMessage)
    keys = {artifact.name: artifact.key for artifact in result.artifacts}
    storage = storage_in(tmp_path)
    page = storage.get_bytes(keys["report.html"]).decode()
    for part in ("Training", "Latent spaces", "Attention", "probe accuracy"):
        assert part in page
    assert "<b>digit" not in page
    with zipfile.ZipFile(io.BytesIO(storage.get_bytes(keys["pictures.zip"]))) as pictures:
        names = {
            f"pictures/{name}.{kind}"
            for name in ("training", "tsne", "attention")
            for kind in ("png", "json", "jpg")
            if (name, kind) != ("training", "jpg")
        }
        assert names == set(pictures.namelist())
        classes = json.loads(pictures.read("pictures/tsne.json"))["classes"]
    assert classes[4] == "<b>digit 4</b>"
    types = {artifact.name: artifact.content_type for artifact in result.artifacts}
    for name in ("tsne", "attention"):
        data = json.loads(storage.get_bytes(keys[f"{name}.json"]))
        sheet = data["sheet"]
        assert sheet["tiles"] == len(data["files" if name == "tsne" else "images"])
        with Image.open(io.BytesIO(storage.get_bytes(keys[sheet["file"]]))) as image:
            assert image.width == sheet["columns"] * sheet["tile_pixels"]
        assert (types[f"{name}.json"], types[f"{name}.jpg"]) == ("application/json", "image/jpeg")


def test_a_page_that_cannot_be_drawn_loses_no_student(
    digits: DigitsFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("wecolora.pictures.job.write_bytes", no_space)
    recorder = run(digits, tmp_path)
    (result,) = recorder.all(ResultMessage)
    names = {artifact.name for artifact in result.artifacts}
    assert "student.safetensors" in names
    assert not names & {"report.html", "pictures.zip", "tsne.json", "attention.jpg"}
    assert "There is no report page: No space left on device" in [
        message.message for message in recorder.all(LogMessage) if message.level == "warning"
    ]


def test_a_class_with_one_image_fails_the_job_before_its_training(
    digits: DigitsFolders, tmp_path: Path
) -> None:
    folder = sorted(digits.train.iterdir())[3]
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    recorder = run(digits, tmp_path)
    (error,) = recorder.all(ErrorMessage)
    assert (error.code, error.param, error.retryable) == ("class_too_small", "probe", False)
    assert f"<b>digit {int(folder.name)}</b>" in error.message
    assert not recorder.all(PhaseMessage)


def test_a_test_class_that_is_not_trained_on_fails_the_job_before_its_training(
    digits: DigitsFolders, tmp_path: Path
) -> None:
    folder = sorted(digits.train.iterdir())[3]
    shutil.rmtree(folder)
    (error,) = run(digits, tmp_path).all(ErrorMessage)
    assert error.code == "unknown_classes"
