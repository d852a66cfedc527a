"""The production profile is only settings: the same job on Postgres, a Redis-compatible queue and an S3 store."""

import hashlib
import io
import zipfile

import obstore
import psycopg
import pytest
import timm

from core.settings import Settings
from core.storage import Storage
from tests.backends import run_redis, run_s3
from tests.e2e.service import Service
from tests.servers import run_postgres


@pytest.fixture(scope="module")
def production(tmp_path_factory):
    with run_postgres() as postgres, run_redis() as redis_url, run_s3() as s3:
        environment = {"WECOLORA_DATABASE_URL": postgres.url, "WECOLORA_BROKER_URL": redis_url, **s3}
        service = Service(tmp_path_factory.mktemp("production"), **environment)
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


def test_a_cancelled_job_leaves_no_objects_in_the_store(production, digits):
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
    left = [entry["path"] for batch in obstore.list(store, f"jobs/{job['id']}") for entry in batch]
    assert left == []
