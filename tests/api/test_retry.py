"""`POST /jobs/{id}/retry`: the same job once more, from where it stopped."""

import pytest
from sqlalchemy import update

from core import clock
from core.errors import LeaseLost
from core.leases import JobError, claim_job, claim_next_job, fail, record_checkpoint, record_progress, succeed
from core.models import Dataset, Job
from tests.api.rows import finish, queued_job, running_job
from tests.api.test_jobs import sent_ids
from tests.servers import run_api, wait_until


def failed_job(api):
    claim = running_job(api)
    with api.database.write() as session:
        stored = {"key": f"jobs/{claim.id}/checkpoints/1/40.safetensors", "sha256": "0" * 64, "step": 40}
        record_checkpoint(session, claim, stored)
        record_progress(session, claim, {"step": 45})
        fail(session, claim, JobError("non_finite_loss", "The loss is no number."))
    return claim


def retry(api, job_id):
    return api.client.post(f"/jobs/{job_id}/retry")


def test_a_failed_job_waits_again_and_says_from_where_it_goes_on(api):
    old = failed_job(api)
    response = retry(api, old.id)
    assert response.status_code == 200
    job = response.json()
    assert (job["id"], job["state"], job["attempt"]) == (old.id, "queued", 1)
    assert all(
        job[name] is None for name in ("error", "finished_at", "phase", "progress", "cancel_requested_at")
    )
    events = api.client.get(f"/jobs/{old.id}/events").json()["data"]
    assert events[-1]["message"] == "The job is tried again and resumes from step 40."
    assert events[-1]["data"] == {"state": "queued", "retry": True, "step": 40}
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    wait_until(lambda: old.id in sent_ids(api, "jobs"), seconds=5, pause=0.1)
    with api.database.write() as session:
        new = claim_next_job(session, "worker-2", 30, None)
        assert (new.id, new.attempt) == (old.id, 2)
        assert session.get(Job, old.id).checkpoint["step"] == 40
        with pytest.raises(LeaseLost):
            succeed(session, old, {}, [])
    audit = api.client.get("/audit", params={"target": old.id}).json()["data"]
    assert [entry["action"] for entry in audit] == ["job.retry", "job.create"]


def test_a_cancelled_job_without_a_checkpoint_starts_anew(api):
    job_id = queued_job(api)
    api.client.post(f"/jobs/{job_id}/cancel")
    assert retry(api, job_id).json()["state"] == "queued"
    event = api.client.get(f"/jobs/{job_id}/events").json()["data"][-1]
    assert event["message"] == "The job is tried again and starts anew."
    with api.database.write() as session:
        assert claim_job(session, job_id, "worker-1", 30) is not None


def test_the_charge_for_failed_attempts_begins_anew_and_the_time_on_devices_does_not(api):
    old = failed_job(api)
    with api.database.write() as session:
        spent = update(Job).where(Job.id == old.id)
        session.execute(spent.values(failed_attempts=3, device_seconds=50.0, started_at=clock.now_plus(-1e8)))
    job = retry(api, old.id).json()
    assert job["device_seconds"] == 50.0
    with api.database.read() as session:
        assert session.get(Job, old.id).failed_attempts == 0
    assert api.client.get("/me").json()["owner"]["usage"]["device_seconds"] == 50.0


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_a_job_that_has_not_come_to_grief_is_left_alone(api, state):
    if state == "queued":
        job_id = queued_job(api)
    else:
        claim = running_job(api)
        job_id = claim.id
        if state == "succeeded":
            finish(api, claim)
    before = api.client.get(f"/jobs/{job_id}").json()
    response = retry(api, job_id)
    assert (response.status_code, response.json()["code"]) == (409, "wrong_state")
    assert "cancelled or failed" in response.json()["detail"]
    assert api.client.get(f"/jobs/{job_id}").json() == before


def test_a_job_whose_dataset_failed_cannot_be_tried_again(api):
    claim = failed_job(api)
    with api.database.write() as session:
        session.execute(update(Dataset).values(state="failed"))
    response = retry(api, claim.id)
    assert response.status_code == 409
    assert "dataset" in response.json()["detail"]
    assert api.client.get(f"/jobs/{claim.id}").json()["state"] == "failed"


def test_a_retry_counts_as_a_waiting_job(make_settings):
    with run_api(make_settings(quota_queued_jobs=1)) as api:
        claim = failed_job(api)
        other = queued_job(api)
        assert retry(api, claim.id).json()["code"] == "too_many_jobs"
        api.client.post(f"/jobs/{other}/cancel")
        assert retry(api, claim.id).status_code == 200


def test_nobody_tries_a_job_that_is_not_there(api):
    assert retry(api, "job_nowhere").status_code == 404


def test_a_job_for_more_memory_than_is_left_is_refused_instead_of_waiting_for_ever(make_settings):
    with run_api(make_settings(device_gib=8, teacher_catalogue=None)) as api:
        job_id = queued_job(api, teacher="vit_base_patch16_224")
        api.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    settings = api.settings.model_copy(update={"device_gib": 1})  # on the same database
    with run_api(settings) as api:
        refused = retry(api, job_id)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "teacher")
    assert "WECOLORA_DEVICE_GIB" in refused.json()["detail"]


def test_a_job_for_more_devices_than_are_left_is_refused_instead_of_waiting_for_ever(make_settings):
    with run_api(make_settings(devices=2)) as api:
        job_id = queued_job(api, devices=2)
        api.client.post(f"/jobs/{job_id}/cancel")
    settings = api.settings.model_copy(update={"devices": 1})  # on the same database
    with run_api(settings) as api:
        refused = retry(api, job_id)
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["field"], error["allowed"]) == (422, "devices", "1 to 1")
        assert api.client.get(f"/jobs/{job_id}").json()["state"] == "cancelled"
