"""Finding rows in lists, and asking again for what has not changed."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core import clock
from core.models import Dataset, Job
from tests.api.rows import queued_job, ready_dataset


def names(response):
    assert response.status_code == 200, response.text
    return [row["name"] for row in response.json()["data"]]


@pytest.fixture
def jobs(api):
    dataset_id = ready_dataset(api)
    wanted = ("Birds 50%", "birds_at_sea", "cats")
    return {name: queued_job(api, name=name, dataset_id=dataset_id) for name in wanted}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("BIRDS", ["birds_at_sea", "Birds 50%"]),
        ("%", ["Birds 50%"]),
        ("_", ["birds_at_sea"]),
        ("s", ["cats", "birds_at_sea", "Birds 50%"]),
        ("dogs", []),
    ],
)
def test_jobs_are_found_by_a_part_of_their_name(api, jobs, name, found):
    assert names(api.client.get("/jobs", params={"name": name})) == found


def test_filters_go_together_and_pages_keep_them(api, jobs):
    api.client.post(f"/jobs/{jobs['Birds 50%']}/cancel")
    assert names(api.client.get("/jobs", params={"name": "birds", "state": "cancelled"})) == ["Birds 50%"]
    page = api.client.get("/jobs", params={"name": "birds", "limit": 1})
    assert names(page) == ["birds_at_sea"]
    assert names(api.client.get(page.links["next"]["url"])) == ["Birds 50%"]


def test_jobs_are_found_by_when_they_were_made(api, jobs):
    with api.database.write() as session:
        old = update(Job).where(Job.name == "cats").values(created_at=clock.now_plus(-7200))
        session.execute(old)
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert names(api.client.get("/jobs", params={"created_before": hour_ago})) == ["cats"]
    assert set(names(api.client.get("/jobs", params={"created_from": hour_ago}))) == {
        "Birds 50%",
        "birds_at_sea",
    }


def test_datasets_are_found_by_whether_they_have_classes(api):
    labelled, plain = ready_dataset(api), ready_dataset(api)
    with api.database.write() as session:
        session.get(Dataset, labelled).class_names = ["cat", "dog"]

    def found(**wanted):
        return [row["id"] for row in api.client.get("/datasets", params=wanted).json()["data"]]

    assert found(labelled="true") == [labelled]
    assert found(labelled="false") == [plain]
    assert found(labelled="true", state="ready", name="PHOTO") == [labelled]
    assert found(labelled="true", state="failed") == []
    assert found() == [plain, labelled]


@pytest.mark.parametrize("field", ["created_from", "created_before"])
@pytest.mark.parametrize("value", ["yesterday", "2026-01-01T00:00:00"])
def test_a_time_that_is_none_or_lacks_its_zone_is_refused_by_name(api, field, value):
    response = api.client.get("/jobs", params={field: value})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


def test_datasets_are_found_alike(api):
    for name in ("photos", "paintings"):
        api.client.post("/datasets", json={"name": name})
    assert names(api.client.get("/datasets", params={"name": "photo", "state": "uploading"})) == ["photos"]


@pytest.mark.parametrize("path", ["/jobs", "/jobs/{id}"])
def test_what_has_not_changed_is_not_sent_again(api, jobs, path):
    job_id = jobs["cats"]
    url = path.format(id=job_id)
    first = api.client.get(url)
    known = {"If-None-Match": first.headers["etag"]}
    again = api.client.get(url, headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["cache-control"] == "private, no-cache"
    api.client.post(f"/jobs/{job_id}/cancel")
    changed = api.client.get(url, headers=known)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]
