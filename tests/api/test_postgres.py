"""The same service on Postgres: nothing above core/database.py knows the difference."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from core import migrate
from core.database import SERVER_CONNECTIONS, Database
from core.settings import Settings
from tests.api.conftest import CATALOGUE
from tests.api.rows import count_rows, finish, queued_job, ready_dataset, running_job
from tests.servers import run_api, run_postgres


@pytest.fixture(scope="module")
def postgres():
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def api(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    settings = Settings(data_dir=folder, database_url=postgres.url, teacher_catalogue=CATALOGUE)
    database = Database(settings)
    migrate.upgrade(database.engine)
    database.close()
    with run_api(settings) as running:
        yield running


def test_a_job_goes_from_upload_to_download(api):
    claim = running_job(api)
    digest = finish(api, claim)
    job = api.client.get(f"/jobs/{claim.id}").json()
    assert (job["state"], job["result"]) == ("succeeded", {"student_accuracy": 0.97})
    file = api.client.get(f"/jobs/{claim.id}/artifacts/student.safetensors")
    assert file.headers["etag"] == f'"{digest}"'
    events = api.client.get(f"/jobs/{claim.id}/events", headers={"Accept": "text/event-stream"})
    assert events.text.count("event: state") == 3
    assert api.client.get("/readyz").status_code == 200


def test_many_clients_create_and_cancel_at_once(api):
    dataset_id = ready_dataset(api)
    before = count_rows(api)["jobs"]

    def create_and_cancel(_):
        job = api.client.post("/jobs", json={"teacher": "digits", "dataset_id": dataset_id}).json()
        return {api.client.post(f"/jobs/{job['id']}/cancel").json()["state"] for _ in range(2)}

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(create_and_cancel, range(48))) == [{"cancelled"}] * 48
    assert count_rows(api)["jobs"] == before + 48


def test_a_thousand_creates_with_one_key_make_one_job(api):
    body = {"teacher": "digits", "dataset_id": ready_dataset(api)}
    before = count_rows(api)["jobs"]

    def create(_):
        return api.client.post("/jobs", json=body, headers={"Idempotency-Key": "a-thousand"})

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(create, range(1000)))
    assert {answer.status_code for answer in answers} == {201}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert count_rows(api)["jobs"] == before + 1


def test_forms_with_one_key_at_once_make_one_job_and_leave_no_files(api):
    form = {"data": {"teacher": "digits"}, "files": {"images": ("a.zip", b"an archive")}}
    before, objects = count_rows(api)["jobs"], len(api.resources.storage.list_keys("datasets"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: api.client.post("/jobs", **form, headers={"Idempotency-Key": "form"}), range(24)
            )
        )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count_rows(api)["jobs"] == before + 1
    assert len(api.resources.storage.list_keys("datasets")) == objects + 1


@pytest.mark.parametrize(
    "path", ["/jobs/%00", "/datasets/a%00b", "/jobs?cursor=%00", "/jobs/%00/artifacts/x"]
)
def test_a_nul_character_is_refused_and_breaks_nothing(api, path):
    assert api.client.get(path).status_code == 422
    assert api.client.put("/datasets/%00/parts/1", content=b"x").status_code == 422


def test_a_page_begins_after_the_cursor(api):
    ids = [queued_job(api) for _ in range(3)]
    first = api.client.get("/jobs?limit=1&state=queued").json()
    second = api.client.get("/jobs", params={"limit": 1, "state": "queued", "cursor": first["next_cursor"]})
    assert [first["data"][0]["id"], second.json()["data"][0]["id"]] == [ids[2], ids[1]]


def test_a_database_that_restarts_is_answered_with_503_and_then_used_again(api, postgres):
    job_id = queued_job(api)
    postgres.stop()
    refused = api.client.get(f"/jobs/{job_id}")
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert api.client.get("/readyz").json()["checks"]["database"]["ok"] is False
    assert api.client.get("/healthz").status_code == 200
    postgres.start()
    assert api.client.get(f"/jobs/{job_id}").json()["state"] == "queued"
    assert api.client.get("/readyz").status_code == 200


def test_a_pool_without_a_free_connection_is_answered_with_503(api):
    job_id = queued_job(api)
    with contextlib.ExitStack() as held:
        for _ in range(SERVER_CONNECTIONS):
            held.enter_context(api.database.engine.connect())
        refused = api.client.get(f"/jobs/{job_id}")
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) > 0
    assert api.client.get(f"/jobs/{job_id}").status_code == 200
