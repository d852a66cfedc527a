"""What an owner may have, and how fast it may ask."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from core import clock
from core.models import Job
from core.principals import Scope
from tests.api.keys import View, as_owner
from tests.api.rows import count_rows, finish, queued_job, ready_dataset, running_job
from tests.api.test_teachers import SHAPES, safetensors, upload
from tests.backends import run_redis
from tests.servers import run_api


def part(api, dataset_id, number, content):
    return api.client.put(f"/datasets/{dataset_id}/parts/{number}", content=content)


def object_count(api):
    return len([*api.resources.storage.list_keys("datasets"), *api.resources.storage.list_keys("teachers")])


def assert_refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in answer.headers) is (status == 429)


def test_bytes_beyond_the_quota_are_refused_and_leave_nothing(make_settings):
    with run_api(make_settings(quota_bytes=1000)) as api:
        dataset_id = api.client.post("/datasets").json()["id"]
        assert part(api, dataset_id, 1, b"a" * 900).status_code == 201
        before = count_rows(api), object_count(api)
        refused = part(api, dataset_id, 2, b"b" * 101)
        assert_refused(refused, 403, "quota_exceeded")
        assert "1,000 bytes" in refused.json()["detail"]

        def unannounced():
            yield b"c" * 60
            yield b"c" * 60

        assert_refused(part(api, dataset_id, 2, unannounced()), 403, "quota_exceeded")
        assert_refused(upload(api, safetensors(SHAPES)), 403, "quota_exceeded")
        form = {"data": {"teacher": "digits"}, "files": {"images": ("a.zip", b"z" * 101)}}
        assert_refused(api.client.post("/jobs", **form), 403, "quota_exceeded")
        assert (count_rows(api), object_count(api)) == before
        assert part(api, dataset_id, 1, b"a" * 900).status_code == 200, "the same part again needs no room"
        assert part(api, dataset_id, 1, b"d" * 1000).status_code == 200, "another in its place needs little"
        assert api.client.get("/me").json()["owner"]["usage"]["bytes"] == 1000


def test_parts_that_come_at_once_cannot_pass_the_quota_together(make_settings):
    with run_api(make_settings(quota_bytes=1000)) as api:
        dataset_id = api.client.post("/datasets").json()["id"]
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda number: part(api, dataset_id, number, b"x" * 300), range(1, 9))
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [403] * 5
        assert object_count(api) == 3


def test_an_owner_who_has_all_images_may_bring_no_more(make_settings):
    with run_api(make_settings(quota_images=10)) as api:
        ready_dataset(api)  # has 10
        second = api.client.post("/datasets").json()["id"]
        part(api, second, 1, b"an archive").raise_for_status()
        assert_refused(api.client.post(f"/datasets/{second}/complete"), 403, "quota_exceeded")
        assert api.client.get(f"/datasets/{second}").json()["state"] == "uploading"
        form = {"data": {"teacher": "digits"}, "files": {"images": ("a.zip", b"zip")}}
        assert_refused(api.client.post("/jobs", **form), 403, "quota_exceeded")


def test_waiting_jobs_beyond_the_quota_are_refused_before_anything_is_queued(make_settings):
    with run_api(make_settings(quota_queued_jobs=2)) as api:
        dataset_id = ready_dataset(api)
        body = {"teacher": "digits", "dataset_id": dataset_id}
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: api.client.post("/jobs", json=body), range(6)))
        assert sorted(answer.status_code for answer in answers) == [201] * 2 + [429] * 4
        before = count_rows(api), object_count(api)
        refused = api.client.post("/jobs", json=body)
        assert_refused(refused, 429, "too_many_jobs")
        assert int(refused.headers["retry-after"]) >= 1
        form = {"data": {"teacher": "digits"}, "files": {"images": ("a.zip", b"zip")}}
        assert_refused(api.client.post("/jobs", **form), 429, "too_many_jobs")
        assert (count_rows(api), object_count(api)) == before
        waiting = api.client.get("/jobs", params={"state": "queued"}).json()["data"][0]["id"]
        api.client.post(f"/jobs/{waiting}/cancel").raise_for_status()
        assert api.client.post("/jobs", json=body).status_code == 201


def test_an_owner_whose_jobs_had_their_time_waits_until_the_first_is_old(make_settings):
    with run_api(make_settings(quota_device_seconds=100, quota_period_days=2)) as api:
        claim = running_job(api)
        day = 86_400
        with api.database.write() as session:
            changed = {"started_at": clock.now_plus(-day), "claimed_at": clock.now_plus(-101)}
            session.execute(update(Job).where(Job.id == claim.id).values(**changed))
        body = {"teacher": "digits", "dataset_id": ready_dataset(api)}
        refused = api.client.post("/jobs", json=body)
        assert_refused(refused, 429, "device_time_spent")
        assert int(refused.headers["retry-after"]) == pytest.approx(day, abs=60)
        finish(api, claim)
        assert api.client.get(f"/jobs/{claim.id}").json()["device_seconds"] == pytest.approx(101, abs=20)
        assert_refused(api.client.post("/jobs", json=body), 429, "device_time_spent")
        with api.database.write() as session:
            session.execute(update(Job).values(started_at=clock.now_plus(-2 * day - 1)))
        assert api.client.post("/jobs", json=body).status_code == 201


def test_an_administrator_gives_an_owner_numbers_of_its_own(make_settings):
    with (
        run_api(make_settings(auth="keys", quota_queued_jobs=1)) as api,
        as_owner(api, "lab") as lab,
        as_owner(api, "root", Scope.ADMIN) as admin,
    ):
        view = View(api, lab)
        job_id = queued_job(view)
        body = {"teacher": "digits", "dataset_id": ready_dataset(view)}
        assert_refused(lab.post("/jobs", json=body), 429, "too_many_jobs")
        assert lab.patch("/owners/lab/quotas", json={"queued_jobs": 9}).status_code == 403
        raised = admin.patch("/owners/lab/quotas", json={"queued_jobs": 2})
        assert raised.json()["quotas"]["queued_jobs"] == 2
        assert lab.post("/jobs", json=body).status_code == 201
        me = lab.get("/me").json()
        assert (me["scope"], me["owner"]["name"]) == ("write", "lab")
        assert me["owner"]["usage"]["queued_jobs"] == 2
        listed = {owner["name"]: owner for owner in admin.get("/owners").json()["data"]}
        assert listed["lab"] == me["owner"]
        assert listed["root"]["quotas"]["queued_jobs"] == 1
        back = admin.patch("/owners/lab/quotas", json={"queued_jobs": None})
        assert back.json()["quotas"]["queued_jobs"] == 1
        assert admin.patch("/owners/nobody/quotas", json={}).status_code == 404
        (entry, _) = admin.get("/audit", params={"target": "lab"}).json()["data"]
        assert (entry["action"], entry["detail"]) == ("owner.set_quotas", {"queued_jobs": None})
        with as_owner(api, "shop") as shop:
            assert shop.get("/me").json()["owner"]["usage"]["queued_jobs"] == 0
            assert shop.get(f"/jobs/{job_id}").status_code == 404


def test_requests_that_come_too_fast_are_refused_for_that_owner_alone(make_settings):
    settings = make_settings(auth="keys", rate_limits="5/minute")
    with run_api(settings) as api, as_owner(api, "lab") as lab, as_owner(api, "shop") as shop:
        assert [lab.get("/jobs").status_code for _ in range(5)] == [200] * 5
        refused = lab.get("/jobs")
        assert_refused(refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        with as_owner(api, "lab") as another_key:
            assert another_key.get("/jobs").status_code == 429
        assert shop.get("/jobs").status_code == 200
        assert lab.get("/healthz").status_code == 200


def test_where_no_keys_are_asked_for_nobody_is_too_fast(make_settings):
    with run_api(make_settings(rate_limits="1/minute")) as api:
        assert [api.client.get("/jobs").status_code for _ in range(3)] == [200] * 3


def test_processes_of_the_api_count_together_in_redis_and_alone_when_it_is_away(make_settings):
    with run_redis() as url:
        settings = make_settings(auth="keys", rate_limits="4/minute", broker_url=url)
        with run_api(settings) as one, run_api(settings) as two:
            clients = [as_owner(one, "lab"), as_owner(two, "lab")]
            statuses = [clients[number % 2].get("/jobs").status_code for number in range(6)]
            assert statuses == [200] * 4 + [429] * 2
    # The server is gone: nobody is locked out, and nobody waits for it.
    with run_api(settings) as api, as_owner(api, "lab") as lab:
        started = time.monotonic()
        assert [lab.get("/jobs").status_code for _ in range(5)] == [200] * 4 + [429]
        assert time.monotonic() - started < 15
    for client in clients:
        client.close()
