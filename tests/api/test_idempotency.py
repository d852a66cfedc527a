"""`Idempotency-Key`: what is sent twice takes effect once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from core import clock
from core.models import AuditEntry, Dataset, IdempotencyKey, Job
from core.queries.idempotency import prune_keys
from tests.api.keys import as_owner
from tests.api.rows import count_rows, queued_job, ready_dataset
from tests.api.test_jobs import sent_ids
from tests.api.test_teachers import SHAPES, safetensors
from tests.servers import run_api, wait_until

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def posts(api, dataset_id):
    """Every request that takes a key, by name: how it is sent, and how it is sent with something else."""
    job = {"teacher": "digits", "k": 8}
    body = {**job, "dataset_id": dataset_id}
    teacher = {"architecture": "vit_fixed_patch4_32"}
    file = safetensors(SHAPES)
    return {
        "job": ("/jobs", {"json": body}, {"json": {**body, "r": 3}}),
        "form": (
            "/jobs",
            {"data": job, "files": {"images": ("a.zip", b"an archive")}},
            {"data": job, "files": {"images": ("a.zip", b"another one")}},
        ),
        "dataset": ("/datasets", {"json": {"name": "photos"}}, {"json": {"name": "others"}}),
        "teacher": (
            "/teachers",
            {"data": teacher, "files": {"file": ("t.safetensors", file)}},
            {"data": {**teacher, "name": "other"}, "files": {"file": ("t.safetensors", file)}},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["job", "form", "dataset", "teacher"])
def test_the_same_request_is_answered_once_and_another_is_refused(api, kind):
    path, same, other = posts(api, ready_dataset(api))[kind]
    first = api.client.post(path, **same, headers=KEY)
    assert first.status_code == 201, first.text
    before = count_rows(api), len(api.resources.storage.list_keys("datasets"))
    again = api.client.post(path, **same, headers=KEY)
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        first.json(),
        first.headers["location"],
    )
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    refused = api.client.post(path, **other, headers=KEY)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert refused.json()["errors"][0]["field"] == "Idempotency-Key"
    assert (count_rows(api), len(api.resources.storage.list_keys("datasets"))) == before
    new = api.client.post(path, **same, headers={"Idempotency-Key": "another"})
    assert new.json()["id"] != first.json()["id"]


def test_a_retry_with_a_key_takes_effect_once(api):
    job_id = queued_job(api)
    api.client.post(f"/jobs/{job_id}/cancel")
    first, again = (api.client.post(f"/jobs/{job_id}/retry", headers=KEY) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert api.client.post(f"/jobs/{job_id}/retry").status_code == 409
    other = queued_job(api)
    assert api.client.post(f"/jobs/{other}/retry", headers=KEY).json()["code"] == "idempotency_key_reused"


def test_a_request_that_was_refused_may_be_mended_under_its_key(api):
    body = {"teacher": "digits", "dataset_id": ready_dataset(api), "r": 99}
    assert api.client.post("/jobs", json=body, headers=KEY).status_code == 422
    assert api.client.post("/jobs", json={**body, "r": 2}, headers=KEY).status_code == 201


def test_workers_are_told_once(api):
    path, same, _ = posts(api, ready_dataset(api))["job"]
    ids = {api.client.post(path, **same, headers=KEY).json()["id"] for _ in range(3)}
    wait_until(lambda: sent_ids(api, "jobs") == list(ids), seconds=5, pause=0.1)


def test_a_key_is_its_owners(make_settings):
    with (
        run_api(make_settings(auth="keys")) as api,
        as_owner(api, "mine") as mine,
        as_owner(api, "theirs") as theirs,
    ):
        ids = {client.post("/datasets", headers=KEY).json()["id"] for client in (mine, theirs, mine)}
        assert len(ids) == 2


def test_a_key_expires(api):
    first = api.client.post("/datasets", headers=KEY).json()["id"]
    with api.database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=clock.now_plus(-25 * 3600)))
    assert api.client.post("/datasets", headers=KEY).json()["id"] != first
    with api.database.write() as session:
        assert prune_keys(session, 24) == 0
        session.execute(update(IdempotencyKey).values(created_at=clock.now_plus(-25 * 3600)))
        assert prune_keys(session, 24) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "naïve"])
def test_a_key_that_is_none_is_refused_by_name(api, key):
    response = api.client.post("/datasets", headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


def test_many_creates_at_once_make_one_dataset(api):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: api.client.post("/datasets", headers=KEY), range(64)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    with api.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Dataset)) == 1
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == 1
        assert session.scalar(select(func.count()).select_from(Job)) == 0
