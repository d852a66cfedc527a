"""The production profile is only settings: the same job on Postgres, a Redis-compatible queue and an S3 store."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile

import obstore
import psycopg
import pytest
import timm

from core.settings import Settings
from core.storage import Storage
from tests.backends import run_redis, run_s3
from tests.e2e.service import ROOT, Service, wait_for
from tests.servers import run_postgres

PASSWORD = "of-the-tests-alone"


def serve(folder, environment):
    """Start production where it has to refuse."""
    command = [sys.executable, "-m", "core.serve", "--port", "0", "--profile", "production"]
    return subprocess.run(
        [*command, "--data-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | environment,  # noqa: TID251 - a child of a test
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def production(tmp_path_factory):
    with run_postgres() as postgres, run_redis(password=PASSWORD) as redis_url, run_s3() as s3:
        database_url = postgres.url.replace("test@", f"test:{PASSWORD}@")
        environment = {"WECOLORA_DATABASE_URL": database_url, "WECOLORA_BROKER_URL": redis_url, **s3}
        folder = tmp_path_factory.mktemp("production")
        refused = serve(folder, environment)
        assert refused.returncode == 1
        assert "is not migrated" in refused.stderr
        assert "`python -m core.migrate`" in refused.stderr
        child = os.environ | environment  # noqa: TID251 - of a child of a test
        subprocess.run([sys.executable, "-m", "core.migrate"], check=True, cwd=ROOT, env=child)
        service = Service(folder, ["--profile", "production"], **environment)
        try:
            yield service, environment
        finally:
            service.stop()


def test_the_whole_path_on_real_servers(production, digits, tmp_path):
    service, environment = production
    assert service.get("/readyz")
    images = service.upload("digits", ("digits.zip", digits["unlabelled"]))
    probe = service.upload("labelled", ("labelled.zip", digits["labelled"]))
    job = service.post(
        "/jobs",
        json={"teacher": "sample-digits", "dataset_id": images, "probe": {"dataset_id": probe},
              "r": 2, "k": 8, "epochs": 1},
    )  # fmt: skip
    job = service.wait_for_end(job["id"])
    assert job["state"] == "succeeded", job["error"]
    assert job["result"]["student"]["probe_accuracy"] > 0.5

    listed = {artifact["name"]: artifact for artifact in service.get(f"/jobs/{job['id']}/artifacts")["data"]}
    weights = service.download(job["id"], "student.safetensors")
    assert hashlib.sha256(weights).hexdigest() == listed["student.safetensors"]["sha256"]
    with zipfile.ZipFile(io.BytesIO(service.download(job["id"], "student.zip"))) as bundle:
        bundle.extractall(tmp_path)
    assert len(timm.create_model(f"local-dir:{tmp_path / 'student'}", pretrained=True).blocks) == 6

    assert not (service.data_dir / "wecolora.db").exists(), "the rows are in Postgres"
    assert not (service.data_dir / "objects").exists(), "the objects are in the store"
    assert not (service.data_dir / "queue").exists(), "the messages go over Redis"
    with psycopg.connect(environment["WECOLORA_DATABASE_URL"].replace("+psycopg", "")) as connection:
        found = connection.execute("select state from jobs where id = %s", (job["id"],)).fetchone()
    assert found == ("succeeded",)


def test_a_cancelled_job_keeps_its_checkpoint_until_it_is_deleted_and_then_nothing(production, digits):
    service, environment = production
    images = service.upload("digits", ("digits.zip", digits["unlabelled"]))
    job = service.post(
        "/jobs", json={"teacher": "sample-digits", "dataset_id": images, "r": 2, "k": 8, "epochs": 500}
    )
    service.wait_for_step(job["id"], 3)
    service.post(f"/jobs/{job['id']}/cancel", status=200)
    assert service.wait_for_end(job["id"])["state"] == "cancelled"
    fields = {name.removeprefix("WECOLORA_").lower(): value for name, value in environment.items()}
    store = Storage.from_settings(Settings(**fields)).store

    def objects():
        return [entry["path"] for batch in obstore.list(store, f"jobs/{job['id']}") for entry in batch]

    assert {path.split("/")[-3] for path in objects()} == {"checkpoints"}, "it may be tried again from there"
    assert service.http.delete(f"/jobs/{job['id']}").status_code == 204
    wait_for(lambda: not objects())


def test_the_log_is_json_and_a_job_s_lines_name_it_and_its_attempt(production, digits):
    service, _ = production
    images = service.upload("digits", ("digits.zip", digits["unlabelled"]))
    job = service.post(
        "/jobs",
        json={"teacher": "sample-digits", "dataset_id": images, "recipe": "instant", "r": 2, "k": 8},
        headers={"X-Request-ID": "from-the-client-1"},
    )
    assert service.wait_for_end(job["id"])["state"] == "succeeded"
    plain = [line for line in service.log if not line.startswith("{")]
    assert len(plain) == 2, "the two lines for the terminal: where it is, and whether it asks for keys"
    lines = [json.loads(line) for line in service.log if line.startswith("{")]
    assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in lines)
    of_job = [line for line in lines if line.get("job_id") == job["id"]]
    assert any("started as process" in line["message"] and line["attempt"] == 1 for line in of_job)
    (created,) = [line for line in lines if line.get("request_id") == "from-the-client-1"]
    assert (created["message"], created["status"]) == ("POST /jobs", 201)


def test_a_scrape_tells_what_was_done_whichever_process_is_asked(production):
    service, _ = production
    text = service.http.get("/metrics").text
    assert "wecolora_database_up 1.0" in text
    assert 'wecolora_queue_depth{queue="jobs"} 0.0' in text
    seconds = re.search(r'wecolora_last_hour_phase_seconds_sum\{phase="preparing"\} (\S+)', text)
    assert float(seconds[1]) > 0
