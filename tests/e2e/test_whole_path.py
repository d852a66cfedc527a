"""From a folder of images to a student that loads in timm, over real HTTP."""

import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnxruntime
import pytest
import timm
import torch
from safetensors.torch import load_file

from tests.e2e.service import Service

OPTIONS = {"r": 2, "k": 8, "epochs": 8, "batch_size": 16, "seed": 7}
NAMES = {
    "student.safetensors",
    "config.json",
    "student.zip",
    "adapter.safetensors",
    "metrics.jsonl",
    "report.json",
    "report.html",
    "pictures.zip",
    "tsne.json",
    "tsne.jpg",
    "attention.json",
    "attention.jpg",
}


@pytest.fixture(scope="module")
def watched(service: Service, digits: dict[str, bytes]) -> dict[str, Any]:
    """A job with a probe that went well, and what its event stream said meanwhile."""
    images = service.upload("digits", ("digits.zip", digits["unlabelled"]))
    probe = service.upload("labelled digits", ("labelled.zip", digits["labelled"]))
    job = service.post(
        "/jobs",
        json={"teacher": "sample-digits", "dataset_id": images, "probe": {"dataset_id": probe}, **OPTIONS},
    )
    assert job["state"] == "queued"
    stream = read_stream(service, job["id"])
    return {"job": service.job(job["id"]), "stream": stream, "images": images, "probe": probe}


def read_stream(service: Service, job_id: str) -> list[dict[str, Any]]:
    """Read server-sent events until the server ends the stream."""
    events, current = [], {}
    headers = {"Accept": "text/event-stream"}
    with service.http.stream("GET", f"/jobs/{job_id}/events", headers=headers, timeout=120) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith(("id:", "event:", "data:")):
                field, value = line.split(":", 1)
                current[field] = value.strip()
            elif not line and current:
                events.append(current)
                current = {}
    return events


def load_student(service: Service, job_id: str, folder: Path) -> torch.nn.Module:
    with zipfile.ZipFile(io.BytesIO(service.download(job_id, "student.zip"))) as bundle:
        assert sorted(bundle.namelist()) == ["student/config.json", "student/model.safetensors"]
        bundle.extractall(folder)
    return timm.create_model(f"local-dir:{folder / 'student'}", pretrained=True).eval()


def test_a_job_succeeds_and_its_table_compares_teacher_and_student(watched: dict[str, Any]) -> None:
    job = watched["job"]
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert set(result) == {
        "teacher", "student", "method", "recipe", "changed", "steps", "lr", "batch_size", "warmup_steps",
        "initial_loss", "final_loss", "seconds", "trainable_parameters", "blocks", "refit", "delivered", "load",
        "device", "device_name", "images", "work_gmacs",
    }  # fmt: skip
    assert (result["method"], result["recipe"]) == (job["method"], job["recipe"]) == ("wecolora", "best")
    assert len(result["blocks"]) == len(result["refit"]) == 6
    assert result["load"] == job["load"] == 'timm.create_model("local-dir:student", pretrained=True)'
    assert result["final_loss"] < result["initial_loss"]
    assert result["student"]["parameters"] < result["teacher"]["parameters"]
    assert result["student"]["gmacs"] < result["teacher"]["gmacs"]
    assert result["student"]["file_size_bytes"] < result["teacher"]["file_size_bytes"]
    assert result["teacher"]["probe_accuracy"] > 0.85
    assert result["student"]["probe_accuracy"] > 0.5
    assert job["attempt"] == 1
    assert job["finished_at"] >= job["started_at"] >= job["created_at"]


def test_the_event_stream_tells_the_whole_story_in_order(service: Service, watched: dict[str, Any]) -> None:
    stream = watched["stream"]
    data = [json.loads(event["data"]) for event in stream]
    assert [int(event["id"]) for event in stream] == list(range(1, len(stream) + 1))
    assert [d["data"]["state"] for d in data if d["type"] == "state"] == ["queued", "running", "succeeded"]
    phases = [d["data"]["phase"] for d in data if d["type"] == "phase"]
    assert phases == ["fetching", "preparing", "distilling", "merging", "probing", "exporting", "publishing"]
    metrics = [d["data"] for d in data if d["type"] == "metric"]
    assert {"step", "loss", "lr"} <= set(metrics[0])
    assert metrics[-1]["step"] == watched["job"]["result"]["steps"]
    replayed = service.events(watched["job"]["id"])
    assert [event["seq"] for event in replayed] == [int(event["id"]) for event in stream]


def test_the_downloaded_student_loads_in_timm_and_is_the_published_one(
    service: Service, watched: dict[str, Any], tmp_path: Path
) -> None:
    job_id = watched["job"]["id"]
    artifacts = service.get(f"/jobs/{job_id}/artifacts")["data"]
    assert {artifact["name"] for artifact in artifacts} == NAMES
    student = load_student(service, job_id, tmp_path)
    assert len(student.blocks) == 6
    (tmp_path / "single.safetensors").write_bytes(service.download(job_id, "student.safetensors"))
    weights = load_file(tmp_path / "single.safetensors")
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    with torch.inference_mode():
        assert torch.isfinite(student(torch.zeros(1, 3, 32, 32))).all()
    lines = service.download(job_id, "metrics.jsonl").splitlines()
    assert len(lines) == watched["job"]["result"]["steps"]
    report = json.loads(service.download(job_id, "report.json"))
    assert report["probe"]["student"]["classes"] == 10


def test_a_job_without_training_succeeds_and_its_student_loads_in_timm_and_in_an_onnx_runtime(
    service: Service, watched: dict[str, Any], tmp_path: Path
) -> None:
    body = {
        "teacher": "sample-digits",
        "dataset_id": watched["images"],
        "recipe": "instant",
        "r": 3,
        "onnx": True,
    }
    job = service.wait_for_end(service.post("/jobs", json=body)["id"])
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert (result["steps"], result["initial_loss"], result["final_loss"]) == (0, None, None)
    assert job["progress"]["activity"] == "preparing"
    phases = [event["data"]["phase"] for event in service.events(job["id"]) if event["type"] == "phase"]
    assert phases == ["fetching", "preparing", "merging", "exporting", "publishing"]
    student = load_student(service, job["id"], tmp_path)
    assert len(student.blocks) == 4
    images = torch.randn(2, 3, 32, 32)
    session = onnxruntime.InferenceSession(service.download(job["id"], "student.onnx"))
    with torch.inference_mode():
        np.testing.assert_allclose(
            session.run(None, {"images": images.numpy()})[0], student(images).numpy(), atol=1e-4
        )


def test_one_curl_line_starts_a_job(service: Service, digits: dict[str, bytes], tmp_path: Path) -> None:
    images, probe = tmp_path / "photos.zip", tmp_path / "labelled.zip"
    images.write_bytes(digits["unlabelled"])
    probe.write_bytes(digits["labelled"])
    form = {"teacher": "sample-digits", "r": "3", "k": "4", "epochs": "1"}
    if curl := shutil.which("curl"):
        fields = [f"-F{name}={value}" for name, value in form.items()]
        files = [f"-Fimages=@{images}", f"-Fprobe=@{probe}"]
        done = subprocess.run(
            [curl, "-sS", "--fail-with-body", *files, *fields, f"{service.url}/jobs"],
            capture_output=True,
            check=True,
        )
        job = json.loads(done.stdout)
    else:
        with images.open("rb") as opened, probe.open("rb") as labelled:
            job = service.post("/jobs", data=form, files={"images": opened, "probe": labelled})
    job = service.wait_for_end(job["id"])
    assert job["state"] == "succeeded", job["error"]
    assert len(load_student(service, job["id"], tmp_path).blocks) == 4
    assert job["result"]["student"]["probe_accuracy"] is not None


def test_an_upload_without_images_fails_its_job_with_the_reason(service: Service) -> None:
    job = service.post(
        "/jobs", data={"teacher": "sample-digits", "r": "2", "k": "4"}, files={"images": ("a.txt", b"hello")}
    )
    job = service.wait_for_end(job["id"])
    assert job["state"] == "failed"
    assert job["error"]["code"] == "dataset_failed"
    assert "a.txt is not an image" in job["error"]["message"]


def test_an_unsafe_archive_fails_its_dataset(service: Service) -> None:
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as bundle:
        bundle.writestr("../../evil.png", b"x")
    dataset = service.get(f"/datasets/{service.upload('evil', ('evil.zip', evil.getvalue()))}")
    assert dataset["state"] == "failed"
    assert dataset["error"]["code"] == "archive_unsafe"
    assert not list(service.data_dir.parent.rglob("evil.png"))


def test_a_probe_without_classes_fails_before_training(service: Service, watched: dict[str, Any]) -> None:
    images = watched["images"]
    job = service.post(
        "/jobs",
        json={"teacher": "sample-digits", "dataset_id": images, "probe": {"dataset_id": images}, **OPTIONS},
    )
    job = service.wait_for_end(job["id"])
    assert (job["state"], job["error"]["code"], job["error"]["param"]) == (
        "failed",
        "labels_required",
        "probe",
    )
    assert job["attempt"] == 1
    assert not [event for event in service.events(job["id"]) if event["type"] == "metric"]
    assert service.get(f"/jobs/{job['id']}/artifacts")["data"] == []


def test_an_idle_service_leaves_no_scratch_behind(service: Service, watched: dict[str, Any]) -> None:
    scratch = service.data_dir / "scratch"
    assert [path for path in scratch.rglob("*") if path.is_file()] == []


def test_events_resume_after_the_last_one_seen(service: Service, watched: dict[str, Any]) -> None:
    last = watched["stream"][-3]["id"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
    answer = httpx2.get(f"{service.url}/jobs/{watched['job']['id']}/events", headers=headers, timeout=30)
    ids = [line.split(":")[1].strip() for line in answer.text.splitlines() if line.startswith("id:")]
    assert ids == [event["id"] for event in watched["stream"][-2:]]
