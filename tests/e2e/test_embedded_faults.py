"""The embedded service is stopped, killed, or loses a process of a training on two devices: nothing is lost."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.e2e.service import Service, wait_for

LONG = {"teacher": "sample-digits", "r": 2, "k": 8, "epochs": 30, "batch_size": 16, "seed": 3}
# Patient: on a machine that does other work as well, everything here takes its multiple.
pytestmark = pytest.mark.timeout(900)


def start(service: Service, images: str, **changes: Any) -> str:
    return service.post("/jobs", json={**LONG, "dataset_id": images, **changes})["id"]


def wait_for_checkpoint(service: Service, job_id: str, step: int) -> None:
    """Wait until the job is past a step and the row names a checkpoint."""
    service.wait_for_step(job_id, step)
    wait_for(lambda: (row(service, job_id)["checkpoint"] or "null") != "null")


def row(service: Service, job_id: str) -> dict[str, Any]:
    engine = create_engine(f"sqlite:///{service.data_dir / 'wecolora.db'}")
    try:
        with engine.connect() as connection:
            found = connection.execute(text("select * from jobs where id = :id"), {"id": job_id})
            return dict(found.mappings().one())
    finally:
        engine.dispose()


def kill(service: Service, words: str) -> None:
    pid = service.pid_of(words)
    assert pid, f"no process {words}"
    os.kill(pid, signal.SIGKILL)


def test_a_server_that_is_stopped_or_killed_leaves_nothing_running_and_loses_nothing(
    tmp_path: Path, digits: dict[str, bytes]
) -> None:
    service = Service(tmp_path / "data")
    images = service.upload("digits", ("digits.zip", digits["unlabelled"]))
    job_id = start(service, images)
    wait_for_checkpoint(service, job_id, 20)
    started = time.monotonic()
    service.stop()
    assert time.monotonic() - started < 12
    assert service.processes() == {}
    left = row(service, job_id)
    assert (left["state"], left["failed_attempts"], left["attempt"]) == ("queued", 0, 1)
    assert left["checkpoint"]

    service = Service(tmp_path / "data")
    service.wait_for_step(job_id, 40)
    assert any("Resuming" in event["message"] for event in service.events(job_id))
    service.process.kill()
    wait_for(lambda: service.processes() == {}, 20)
    service.process.wait()
    service.process.stdout.close()
    service.http.close()


def test_a_job_on_two_devices_survives_the_death_of_the_second_one(
    tmp_path: Path, digits: dict[str, bytes]
) -> None:
    service = Service(tmp_path, WECOLORA_DEVICES="2")
    try:
        images = service.upload("digits", ("digits.zip", digits["unlabelled"]))
        job_id = start(service, images, devices=2, device="cpu", recipe="paper")
        wait_for_checkpoint(service, job_id, 20)
        kill(service, "wecolora.follower")
        wait_for(lambda: service.job(job_id)["attempt"] == 2)
        job = service.wait_for_end(job_id)
        assert (job["state"], job["attempt"]) == ("succeeded", 2), job["error"]
        ended = [each["message"] for each in service.events(job_id) if "Attempt 1 ended" in each["message"]]
        assert "process 1 of the training has failed" in ended[0]
        assert "Resuming from step" in " ".join(each["message"] for each in service.events(job_id))
        assert service.pid_of("wecolora.follower") is None
    finally:
        service.stop()
