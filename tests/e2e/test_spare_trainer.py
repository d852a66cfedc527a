"""The trainer that a worker starts ahead takes the next job, and goes with the service."""

from pathlib import Path

import pytest

from tests.e2e.service import Service, processes_of, wait_for

pytestmark = pytest.mark.timeout(300)


def test_a_job_runs_in_the_trainer_that_waited_for_it(tmp_path: Path, digits: dict[str, bytes]) -> None:
    service = Service(tmp_path, WECOLORA_SPARE_TRAINER="true")
    try:
        images = service.upload("digits", ("digits.zip", digits["unlabelled"]))
        spare = wait_for(lambda: service.pid_of("worker.trainer"))
        job = {
            "teacher": "sample-digits",
            "dataset_id": images,
            "r": 2,
            "k": 8,
            "recipe": "paper",
            "epochs": 1,
        }
        job_id = service.post("/jobs", json=job)["id"]
        assert service.wait_for_end(job_id)["state"] == "succeeded"
        assert any(f"{job_id}, attempt 1: started as process {spare}" in line for line in service.log)
        assert wait_for(lambda: service.pid_of("worker.trainer")) != spare, "the next one waits"
    finally:
        service.stop()
    wait_for(lambda: not list(processes_of(tmp_path)), 30)
