"""Deleting jobs, datasets and teachers: out of sight at once, objects afterwards, nothing that a job needs."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from core import clock, retention
from core.leases import JobError, claim_job, fail
from core.models import Dataset, Deletion, Job, JobEvent
from core.principals import Scope
from tests.api.keys import View, as_owner
from tests.api.rows import count_rows, finish, queued_job, ready_dataset, running_job, uploaded_dataset
from tests.api.test_teachers import SHAPES, safetensors, upload
from tests.servers import run_api


def prefixes(api):
    with api.database.read() as session:
        return set(session.scalars(select(Deletion.prefix)))


def remove_rows(api):
    with api.database.write() as session:
        return retention.remove_rows(session, 30)


def finished_job(api):
    claim = running_job(api)
    finish(api, claim)
    return claim.id


def test_a_finished_job_goes_with_its_events_and_files(api):
    job_id = finished_job(api)
    assert api.client.delete(f"/jobs/{job_id}").status_code == 204
    for path in ("", "/events", "/artifacts", "/artifacts/student.safetensors"):
        assert api.client.get(f"/jobs/{job_id}{path}").status_code == 404
    assert api.client.get("/jobs").json()["data"] == []
    assert api.client.post(f"/jobs/{job_id}/retry").status_code == 404
    assert api.client.delete(f"/jobs/{job_id}").status_code == 404
    rows = count_rows(api)
    assert (rows["job_events"], rows["artifacts"]) == (0, 0)
    assert f"jobs/{job_id}" in prefixes(api)
    entry = api.client.get("/audit", params={"target": job_id}).json()["data"][0]
    assert entry["action"] == "job.delete"


def test_the_time_on_devices_of_a_deleted_job_still_counts(api):
    job_id = finished_job(api)
    with api.database.write() as session:
        session.execute(update(Job).values(device_seconds=70.0))
    api.client.delete(f"/jobs/{job_id}")
    assert remove_rows(api) == 0
    assert api.client.get("/me").json()["owner"]["usage"]["device_seconds"] == 70.0
    with api.database.write() as session:
        session.execute(update(Job).values(started_at=clock.now_plus(-31 * 86_400)))
    assert remove_rows(api) == 1
    assert count_rows(api)["jobs"] == 0


@pytest.mark.parametrize("make", [queued_job, lambda api: running_job(api).id])
def test_a_job_that_has_not_ended_is_not_deleted(api, make):
    job_id = make(api)
    response = api.client.delete(f"/jobs/{job_id}")
    assert (response.status_code, response.json()["code"]) == (409, "wrong_state")
    assert "cancelled or failed or succeeded" in response.json()["detail"]


def test_a_dataset_goes_and_its_bytes_and_images_are_free_again(api):
    dataset_id = ready_dataset(api)
    before = api.client.get("/me").json()["owner"]["usage"]
    assert (before["bytes"], before["images"]) == (10, 10)
    assert api.client.delete(f"/datasets/{dataset_id}").status_code == 204
    usage = api.client.get("/me").json()["owner"]["usage"]
    assert (usage["bytes"], usage["images"]) == (0, 0)
    for path in ("", "/parts", "/report"):
        assert api.client.get(f"/datasets/{dataset_id}{path}").status_code == 404
    assert api.client.get("/datasets").json()["data"] == []
    assert api.client.put(f"/datasets/{dataset_id}/parts/2", content=b"late").status_code == 404
    job = api.client.post("/jobs", json={"teacher": "digits", "dataset_id": dataset_id})
    assert job.json()["errors"][0]["field"] == "dataset_id"
    assert f"datasets/{dataset_id}" in prefixes(api)
    assert remove_rows(api) == 1


@pytest.mark.parametrize("role", ["dataset_id", "probe"])
def test_a_dataset_that_jobs_need_is_kept_and_the_answer_names_them(api, role):
    dataset_id = ready_dataset(api)
    given = {"dataset_id": dataset_id} if role == "dataset_id" else {"probe": {"dataset_id": dataset_id}}
    jobs = [queued_job(api, **given) for _ in range(11)]
    response = api.client.delete(f"/datasets/{dataset_id}")
    assert (response.status_code, response.json()["code"]) == (409, "in_use")
    assert all(job_id in response.json()["detail"] for job_id in jobs[:10])
    assert "and others" in response.json()["detail"]
    for job_id in jobs:
        api.client.post(f"/jobs/{job_id}/cancel")
    assert api.client.delete(f"/datasets/{dataset_id}").status_code == 204
    job = api.client.get(f"/jobs/{jobs[0]}").json()
    assert job["state"] == "cancelled"
    refused = api.client.post(f"/jobs/{jobs[0]}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    assert f"dataset {dataset_id} is deleted" in refused.json()["detail"]
    assert remove_rows(api) == 0, "cancelled jobs name it"
    for job_id in jobs:
        api.client.delete(f"/jobs/{job_id}")
    assert remove_rows(api) == 12


def test_a_dataset_that_is_being_read_is_kept_and_an_upload_can_be_given_up(api):
    busy = uploaded_dataset(api)
    assert api.client.delete(f"/datasets/{busy}").json()["code"] == "wrong_state"
    begun = api.client.post("/datasets").json()["id"]
    assert api.client.delete(f"/datasets/{begun}").status_code == 204


def test_an_uploaded_teacher_goes_unless_a_job_needs_it(api):
    teacher = upload(api, safetensors(SHAPES)).json()["id"]
    job_id = queued_job(api, teacher=teacher, k=4)
    refused = api.client.delete(f"/teachers/{teacher}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert job_id in refused.json()["detail"]
    api.client.post(f"/jobs/{job_id}/cancel")
    assert api.client.delete(f"/teachers/{teacher}").status_code == 204
    assert api.client.get(f"/teachers/{teacher}").status_code == 404
    assert f"teachers/{teacher}" in prefixes(api)
    retried = api.client.post(f"/jobs/{job_id}/retry")
    assert retried.status_code == 409
    assert f"teacher {teacher} is deleted" in retried.json()["detail"]
    usage = api.client.get("/me").json()["owner"]["usage"]
    assert usage["bytes"] == 10, "the dataset's"


def test_a_teacher_of_the_catalogue_is_nobodys_to_delete(api):
    response = api.client.delete("/teachers/sample-digits")
    assert response.status_code == 404
    assert api.client.get("/teachers/sample-digits").status_code == 200


def test_a_deletion_and_a_new_job_at_once_leave_no_job_without_its_dataset(api):
    body = {"teacher": "digits", "k": 8}
    for _ in range(5):
        dataset_id = ready_dataset(api)
        with ThreadPoolExecutor(2) as pool:
            created = pool.submit(api.client.post, "/jobs", json={**body, "dataset_id": dataset_id})
            deleted = pool.submit(api.client.delete, f"/datasets/{dataset_id}")
        assert (created.result().status_code, deleted.result().status_code) in ((201, 409), (422, 204))


def test_another_owners_things_are_not_there(make_settings):
    with (
        run_api(make_settings(auth="keys")) as api,
        as_owner(api, "mine") as client,
        as_owner(api, "theirs") as theirs,
        as_owner(api, "mine", Scope.READ) as reader,
    ):
        job_id = queued_job(View(api, client))
        client.post(f"/jobs/{job_id}/cancel")
        dataset_id = client.get(f"/jobs/{job_id}").json()["dataset_id"]
        for path in (f"/jobs/{job_id}", f"/datasets/{dataset_id}"):
            assert theirs.delete(path).status_code == 404
            assert reader.delete(path).json()["code"] == "insufficient_scope"
            assert client.get(path).status_code == 200


def test_a_failed_job_keeps_its_events_until_it_is_deleted(api):
    claim = running_job(api)
    with api.database.write() as session:
        fail(session, claim, JobError("x", "broken"))
    assert api.client.get(f"/jobs/{claim.id}/events").json()["data"]
    api.client.delete(f"/jobs/{claim.id}")
    with api.database.write() as session:
        assert session.scalars(select(JobEvent)).all() == []
        assert claim_job(session, claim.id, "worker-2", 30) is None
        assert session.scalars(select(Dataset)).one().deleted_at is None
