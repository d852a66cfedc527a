"""What belongs to somebody else looks like what does not exist; an admin key sees all. On SQLite and Postgres."""

import pytest

from core import migrate
from core.database import Database
from core.principals import Scope
from core.settings import Settings
from tests.api.conftest import CATALOGUE
from tests.api.keys import View, as_owner
from tests.api.rows import finish, queued_job, ready_dataset, running_job, uploaded_dataset
from tests.api.test_teachers import SHAPES, safetensors, upload
from tests.servers import run_api, run_postgres


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def keyed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("owners")
    settings = Settings(data_dir=folder, teacher_catalogue=CATALOGUE, auth="keys", event_poll_seconds=0.05)
    if request.param == "sqlite":
        yield from _running(settings)
        return
    with run_postgres() as server:
        yield from _running(settings.model_copy(update={"database_url": server.url}))


def _running(settings):
    database = Database(settings)
    migrate.upgrade(database.engine)
    database.close()
    with run_api(settings) as running:
        yield running


@pytest.fixture
def clients(keyed):
    """The API as two owners and an administrator see it."""
    opened = [as_owner(keyed, "lab"), as_owner(keyed, "shop"), as_owner(keyed, "root", Scope.ADMIN)]
    yield [View(keyed, client) for client in opened]
    for client in opened:
        client.close()


def test_every_path_with_anothers_id_answers_as_if_there_were_none(clients):
    lab, shop, admin = clients
    claim = running_job(lab)
    finish(lab, claim)
    dataset_id = uploaded_dataset(lab)
    teacher_id = upload(lab, safetensors(SHAPES)).json()["id"]
    ids = {"job_id": claim.id, "dataset_id": dataset_id, "teacher_id": teacher_id}
    unknown = {"job_id": "job_none", "dataset_id": "ds_none", "teacher_id": "tch_none"}
    document = lab.client.get("/openapi.json").json()
    tried = 0
    for template, methods in document["paths"].items():
        if not any(f"{{{name}}}" in template for name in ids):
            continue
        for method in methods:
            answers = [
                shop.client.request(
                    method,
                    template.format(**named, number=1, name="student.safetensors"),
                    **_body(method, template),
                )
                for named in (ids, unknown)
            ]
            assert [answer.status_code for answer in answers] == [404, 404], (method, template)
            assert answers[0].json()["code"] == answers[1].json()["code"] == "not_found"
            tried += 1
    assert tried >= 11
    stream = {"Accept": "text/event-stream"}
    assert shop.client.get(f"/jobs/{claim.id}/events", headers=stream).status_code == 404
    assert shop.client.head(f"/jobs/{claim.id}/artifacts/student.safetensors").status_code == 404
    for view in (lab, admin):
        assert view.client.get(f"/jobs/{claim.id}/events", headers=stream).status_code == 200
        assert view.client.get(f"/jobs/{claim.id}/artifacts/student.safetensors").status_code == 200
        assert view.client.get(f"/datasets/{dataset_id}").json()["owner"] == "lab"
        assert view.client.get(f"/teachers/{teacher_id}").json()["owner"] == "lab"


def _body(method, template):
    part = {"sha256": "0" * 64}
    if template.endswith("/upload-url"):
        return {"json": part | {"size_bytes": 10}}
    if template.endswith("/confirm"):
        return {"json": part}
    return {"content": b"an archive"} if method == "put" else {}


def test_a_job_cannot_name_anothers_dataset_probe_or_teacher(clients):
    lab, shop, _ = clients
    dataset_id, own = ready_dataset(lab), ready_dataset(shop)
    teacher_id = upload(lab, safetensors(SHAPES)).json()["id"]
    for field, real, unknown in (
        ("dataset_id", {"dataset_id": dataset_id}, {"dataset_id": "ds_none"}),
        ("probe.dataset_id", {"probe": {"dataset_id": dataset_id}}, {"probe": {"dataset_id": "ds_none"}}),
        ("teacher", {"teacher": teacher_id}, {"teacher": "tch_none"}),
    ):
        body = {"teacher": "digits", "dataset_id": own}
        refused, imagined = (shop.client.post("/jobs", json={**body, **each}) for each in (real, unknown))
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
        assert refused.json()["code"] == imagined.json()["code"]
        told = refused.json()["detail"].replace(dataset_id, "ID").replace(teacher_id, "ID")
        assert told == imagined.json()["detail"].replace("ds_none", "ID").replace("tch_none", "ID")
    form = {"teacher": teacher_id}
    refused = shop.client.post("/jobs", data=form, files={"images": ("a.zip", b"zip")})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_teacher")


def test_lists_show_ones_own_and_an_admin_everybodys(clients):
    lab, shop, admin = clients
    jobs = {"lab": queued_job(lab), "shop": queued_job(shop)}
    teacher_id = upload(lab, safetensors(SHAPES)).json()["id"]

    def listed(view, path, **params):
        return [row["id"] for row in view.client.get(path, params={"limit": 100, **params}).json()["data"]]

    for view, owner, other in ((lab, "lab", "shop"), (shop, "shop", "lab")):
        assert jobs[owner] in listed(view, "/jobs")
        assert jobs[other] not in listed(view, "/jobs")
        assert listed(view, "/jobs", owner=other) == []
        assert {row["owner"] for row in view.client.get("/datasets").json()["data"]} == {owner}
    assert teacher_id in listed(lab, "/teachers")
    assert teacher_id not in listed(shop, "/teachers")
    assert set(jobs.values()) <= set(listed(admin, "/jobs"))
    assert jobs["lab"] in listed(admin, "/jobs", owner="lab")
    assert jobs["shop"] not in listed(admin, "/jobs", owner="lab")
    first = lab.client.get("/jobs", params={"limit": 1}).json()
    assert first["data"][0]["id"] == jobs["lab"]


def test_what_a_form_makes_belongs_to_whoever_sent_it(clients):
    lab, shop, _ = clients
    job = lab.client.post("/jobs", data={"teacher": "digits"}, files={"images": ("a.zip", b"zip")}).json()
    assert job["owner"] == "lab"
    assert lab.client.get(job["links"]["dataset"]).json()["owner"] == "lab"
    assert shop.client.get(job["links"]["dataset"]).status_code == 404


def test_the_audit_log_says_who_did_what_when_to_which_id_and_from_where(clients):
    lab, _, admin = clients
    job_id = queued_job(lab)
    dataset_id = lab.client.get(f"/jobs/{job_id}").json()["dataset_id"]
    lab.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    lab.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    (key_id,) = [key["id"] for key in lab.client.get("/keys", params={"limit": 1}).json()["data"]]

    def entries(**params):
        return admin.client.get("/audit", params=params).json()["data"]

    assert [entry["action"] for entry in entries(target=job_id)] == ["job.cancel", "job.create"]
    of_dataset = entries(target=dataset_id)
    assert [entry["action"] for entry in of_dataset] == [
        "dataset.complete",
        "dataset.upload",
        "dataset.create",
    ]
    assert of_dataset[1]["detail"]["number"] == 1
    for entry in of_dataset:
        assert (entry["owner"], entry["key_id"], entry["address"]) == ("lab", key_id, "127.0.0.1")
        assert entry["created_at"].startswith("20")
    assert {entry["owner"] for entry in entries(owner="lab")} == {"lab"}
    assert {entry["action"] for entry in entries(action="job.create")} == {"job.create"}


def test_the_audit_log_is_paged_and_a_refused_request_leaves_no_entry(clients):
    lab, shop, admin = clients
    dataset_id = uploaded_dataset(lab)
    shop.client.put(f"/datasets/{dataset_id}/parts/2", content=b"x")
    lab.client.post("/jobs", json={"teacher": "digits", "dataset_id": "ds_none"})
    first = admin.client.get("/audit", params={"target": dataset_id, "limit": 2})
    second = admin.client.get(first.headers["link"].partition(">")[0].removeprefix("<")).json()
    actions = [entry["action"] for entry in first.json()["data"] + second["data"]]
    assert actions == ["dataset.complete", "dataset.upload", "dataset.create"]
    assert second["has_more"] is False
