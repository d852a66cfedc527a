"""What workers would do, for tests of the API alone."""

import hashlib

from sqlalchemy import func, select

from core.leases import (
    IngestResult,
    NewArtifact,
    claim_dataset,
    claim_job,
    complete_ingest,
    succeed,
)
from core.models import Artifact, Dataset, DatasetPart, Job, JobEvent, Teacher

CONTENT = bytes(range(256)) * 40
RESULT = IngestResult(10, 0, 0, 1000, "datasets/report.json")


def count_rows(api):
    with api.database.read() as session:
        tables = (Dataset, DatasetPart, Job, JobEvent, Artifact, Teacher)
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) for table in tables
        }


def uploaded_dataset(api):
    """A dataset whose upload is complete and whose ingest has not begun."""
    dataset_id = api.client.post("/datasets", json={"name": "photos"}).json()["id"]
    api.client.put(f"/datasets/{dataset_id}/parts/1", content=b"an archive").raise_for_status()
    api.client.post(f"/datasets/{dataset_id}/complete").raise_for_status()
    return dataset_id


def ready_dataset(api):
    dataset_id = uploaded_dataset(api)
    with api.database.write() as session:
        held = claim_dataset(session, dataset_id, "worker-1", 30)
        complete_ingest(session, held, RESULT)
    return dataset_id


def queued_job(api, **changed):
    body = {"teacher": "sample-digits", "r": 2, "k": 8, "dataset_id": ready_dataset(api)}
    response = api.client.post("/jobs", json={**body, **changed})
    assert response.status_code == 201, response.text
    return response.json()["id"]


def running_job(api):
    job_id = queued_job(api)
    with api.database.write() as session:
        return claim_job(session, job_id, "worker-1", 30)


def finish(api, claim, name="student.safetensors", content=CONTENT):
    stored = api.resources.storage.put_bytes(f"jobs/{claim.id}/attempts/{claim.attempt}/{name}", content)
    digest = hashlib.sha256(content).hexdigest()
    file = NewArtifact(name, stored.key, len(content), digest, "application/octet-stream")
    with api.database.write() as session:
        succeed(session, claim, {"student_accuracy": 0.97}, [file])
    return digest
