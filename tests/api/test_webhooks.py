"""Webhooks as an owner sees them; the sending is in tests/worker/test_webhooks.py."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from sqlalchemy import select

from api.webhooks import service
from api.webhooks.schemas import Message
from core.models import AuditEntry, WebhookDelivery
from core.principals import Scope
from core.webhooks import egress
from core.webhooks.deliveries import Outcome, claim_due, finish, spread_events
from tests.api.keys import as_owner
from tests.api.rows import queued_job
from tests.servers import run_api

URL = "https://hooks.example/wecolora"


@pytest.fixture(autouse=True)
def public_names(monkeypatch):
    """There is no resolver here: every name stands for a public address."""
    monkeypatch.setattr(egress, "look_up", lambda host, port: ["93.184.216.34"])


def register(client, **changed):
    answer = client.post("/webhooks", json={"url": URL, **changed})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send_one(api, outcome):
    """What a dispatcher does with one delivery."""
    with api.database.write() as session:
        (sending,) = claim_due(session, 30, 10)
    with api.database.write() as session:
        assert finish(session, api.settings, sending, outcome)


def test_an_endpoint_is_registered_changed_and_forgotten_and_its_secret_shown_once(api):
    made = register(api.client, events=["job.failed", "job.succeeded"], description="chat")
    here = f"/webhooks/{made['id']}"
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["job.succeeded", "job.failed"]
    shown = api.client.get(here).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert api.client.get("/webhooks").json()["data"] == [shown]
    changed = api.client.patch(here, json={"active": False, "events": ["dataset.ready"]})
    assert changed.status_code == 200
    assert (changed.json()["active"], changed.json()["url"], changed.json()["description"]) == (
        False,
        URL,
        "chat",
    )
    assert changed.json()["events"] == ["dataset.ready"]
    assert api.client.delete(here).status_code == 204
    assert api.client.get(here).status_code == 404
    actions = [entry["action"] for entry in api.client.get("/audit").json()["data"]]
    assert actions == ["webhook.delete", "webhook.update", "webhook.create"]
    assert made["secret"] not in api.client.get("/audit").text


def test_without_a_filter_it_is_told_of_everything(api):
    assert len(register(api.client)["events"]) == 6


def test_a_rotation_shows_the_new_secret_and_says_how_long_the_old_one_counts(api):
    made = register(api.client)
    rotated = api.client.post(f"/webhooks/{made['id']}/secret")
    assert rotated.status_code == 200
    assert rotated.headers["cache-control"] == "no-store"
    assert rotated.json()["secret"] != made["secret"]
    assert rotated.json()["previous_secret_expires_at"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "https://hooks.example:0/"}, "url"),
        ({"url": "ftp://hooks.example/"}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["job.exploded"]}, "events.0"),
        ({"url": URL, "description": "x" * 201}, "description"),
        ({"url": URL, "secret": "mine"}, "secret"),
    ],
)
def test_what_cannot_be_is_refused_at_the_field_and_leaves_nothing(api, body, field):
    refused = api.client.post("/webhooks", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert refused.json()["errors"][0]["field"] == field
    assert api.client.get("/webhooks").json()["data"] == []


def test_an_address_inside_is_refused_at_registration_and_at_a_change(api, monkeypatch):
    made = register(api.client)
    monkeypatch.setattr(egress, "look_up", lambda host, port: ["93.184.216.34", "10.0.0.7"])
    for refused in (
        api.client.post("/webhooks", json={"url": URL}),
        api.client.patch(f"/webhooks/{made['id']}", json={"url": "https://other.example/"}),
    ):
        assert refused.status_code == 422
        assert "WECOLORA_WEBHOOK_ALLOW" in refused.json()["detail"]
        assert "10.0.0.7" not in refused.text
    assert api.client.get(f"/webhooks/{made['id']}").json()["url"] == URL


def test_names_that_hang_hold_up_nobody_else(api, monkeypatch):
    waiting = threading.Event()
    monkeypatch.setattr(egress, "look_up", lambda host, port: waiting.wait(30) and ["93.184.216.34"])
    monkeypatch.setattr(service, "LOOK_UP_SECONDS", 4.0)
    with ThreadPoolExecutor(60) as pool:
        asked = [
            pool.submit(httpx2.post, f"{api.url}/webhooks", json={"url": URL}, timeout=20) for _ in range(60)
        ]
        time.sleep(0.3)
        began = time.monotonic()
        assert api.client.get("/jobs").status_code == 200
        assert time.monotonic() - began < 3
        answers = [each.result() for each in asked]
    waiting.set()
    assert {answer.status_code for answer in answers} == {422}
    assert "not resolved within" in answers[0].json()["detail"]


def test_another_owners_endpoint_looks_like_none(make_settings):
    with run_api(make_settings(auth="keys")) as api:
        mine, theirs = as_owner(api, "mine"), as_owner(api, "theirs")
        reader, admin = as_owner(api, "mine", Scope.READ), as_owner(api, "chief", Scope.ADMIN)
        made = register(mine)
        here = f"/webhooks/{made['id']}"
        delivery = mine.post(f"{here}/test").json()
        there = f"{here}/deliveries/{delivery['id']}"
        requests = [
            ("GET", here, None), ("PATCH", here, {"active": False}), ("DELETE", here, None),
            ("POST", f"{here}/secret", None), ("POST", f"{here}/test", None), ("GET", f"{here}/deliveries", None),
            ("GET", there, None), ("POST", f"{there}/retry", None),
        ]  # fmt: skip
        for method, path, body in requests:
            assert theirs.request(method, path, json=body).status_code == 404, (method, path)
        assert theirs.get("/webhooks").json()["data"] == []
        assert reader.get(here).status_code == admin.get(here).status_code == 200
        for method, path, body in requests:
            if method != "GET":
                assert reader.request(method, path, json=body).status_code == 403
        other = register(theirs)
        assert theirs.get(f"/webhooks/{other['id']}/deliveries/{delivery['id']}").status_code == 404
        assert theirs.post(f"/webhooks/{other['id']}/deliveries/{delivery['id']}/retry").status_code == 404
        assert len(admin.get("/webhooks").json()["data"]) == 2
        for client in (mine, theirs, reader, admin):
            client.close()


def test_the_log_says_what_became_of_each_try_and_a_failed_one_is_sent_again(make_settings):
    with run_api(make_settings(webhook_retry_seconds="600")) as api:
        made = register(api.client)
        log = f"/webhooks/{made['id']}/deliveries"
        asked = api.client.post(f"/webhooks/{made['id']}/test")
        assert (asked.status_code, asked.json()["type"]) == (202, "webhook.test")
        send_one(api, Outcome(503, "it answered 503", 0.25))
        (entry,) = api.client.get(log).json()["data"]
        assert (entry["state"], entry["attempt"]) == ("pending", 1)
        assert entry["next_attempt_at"] > entry["attempts"][0]["at"]
        assert entry["attempts"][0] | {"at": ""} == {
            "attempt": 1, "at": "", "status_code": 503, "error": "it answered 503", "seconds": 0.25,
        }  # fmt: skip
        assert api.client.get(f"/webhooks/{made['id']}").json()["failing_since"]
        again = api.client.post(f"{log}/{entry['id']}/retry")
        assert (again.status_code, again.json()["event_id"]) == (202, entry["event_id"])
        with api.database.write() as session:
            (sending,) = claim_due(session, 30, 10)
        assert api.client.get(f"{log}/{entry['id']}").json()["is_being_sent"]
        early = api.client.post(f"{log}/{entry['id']}/retry")
        assert (early.status_code, early.json()["code"]) == (409, "wrong_state")
        with api.database.write() as session:
            finish(session, api.settings, sending, Outcome(200, None, 0.1))
        (entry,) = api.client.get(log, params={"state": "delivered"}).json()["data"]
        assert [each["status_code"] for each in entry["attempts"]] == [503, 200]
        assert api.client.get(log, params={"state": "failed"}).json()["data"] == []


def test_an_endpoint_that_is_not_active_gets_no_test(api):
    made = register(api.client)
    api.client.patch(f"/webhooks/{made['id']}", json={"active": False})
    refused = api.client.post(f"/webhooks/{made['id']}/test")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")


def test_one_that_the_service_disabled_is_made_active_again_with_a_clean_slate(api):
    made = register(api.client)
    api.client.post(f"/webhooks/{made['id']}/test")
    send_one(api, Outcome(410, "it answered 410", 0.1))
    shown = api.client.get(f"/webhooks/{made['id']}").json()
    assert (shown["active"], shown["disabled_reason"]) == (False, "It answered 410 Gone.")
    with api.database.read() as session:
        assert session.scalars(select(AuditEntry).where(AuditEntry.action == "webhook.disable")).one()
    shown = api.client.patch(f"/webhooks/{made['id']}", json={"active": True}).json()
    assert (shown["active"], shown["disabled_reason"], shown["failing_since"]) == (True, None, None)


def test_lists_come_in_pages(api):
    made = [register(api.client)["id"] for _ in range(3)]
    page = api.client.get("/webhooks", params={"limit": 2})
    assert [row["id"] for row in page.json()["data"]] == made[:0:-1]
    assert 'rel="next"' in page.headers["link"]
    rest = api.client.get("/webhooks", params={"limit": 2, "cursor": page.json()["next_cursor"]}).json()
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (made[:1], False)
    log = f"/webhooks/{made[0]}/deliveries"
    asked = [api.client.post(f"/webhooks/{made[0]}/test").json()["id"] for _ in range(3)]
    page = api.client.get(log, params={"limit": 2}).json()
    assert [row["id"] for row in page["data"]] == asked[:0:-1]
    rest = api.client.get(log, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [row["id"] for row in rest["data"]] == asked[:1]


def test_an_owner_has_so_many_endpoints_and_no_more(make_settings):
    with run_api(make_settings(quota_webhooks=2)) as api:
        register(api.client)
        register(api.client)
        refused = api.client.post("/webhooks", json={"url": URL})
        assert (refused.status_code, refused.json()["code"]) == (403, "quota_exceeded")
        owner = api.client.get("/me").json()["owner"]
        assert (owner["quotas"]["webhooks"], owner["usage"]["webhooks"]) == (2, 2)
        api.client.patch("/owners/local/quotas", json={"webhooks": 3}).raise_for_status()
        register(api.client)


def test_a_job_that_is_cancelled_over_http_is_told_of(api):
    register(api.client, events=["job.cancelled"])
    job = queued_job(api)
    api.client.post(f"/jobs/{job}/cancel").raise_for_status()
    metrics = api.client.get("/metrics").text
    assert 'wecolora_webhooks{state="active"} 1.0' in metrics
    with api.database.write() as session:
        assert spread_events(session) == 2, "the dataset's event, too, which nobody asked for"
        assert len(session.scalars(select(WebhookDelivery)).all()) == 1
    metrics = api.client.get("/metrics").text
    assert 'wecolora_webhook_deliveries{state="pending"} 1.0' in metrics
    assert 'wecolora_webhook_deliveries{state="delivered"} 0.0' in metrics
    assert "wecolora_webhook_overdue_seconds" in metrics
    with api.database.write() as session:
        (sending,) = claim_due(session, 30, 10)
    assert f'"id":"{job}"' in sending.body


def test_the_openapi_document_describes_what_is_sent(api):
    register(api.client)
    job = queued_job(api)
    api.client.post(f"/jobs/{job}/cancel").raise_for_status()
    with api.database.write() as session:
        spread_events(session)
    with api.database.write() as session:
        (sending,) = claim_due(session, 30, 10)
    document = api.client.get("/openapi.json").json()
    (operation,) = document["webhooks"]["event"].values()
    assert {header["name"] for header in operation["parameters"]} == {
        "webhook-id", "webhook-timestamp", "webhook-signature",
    }  # fmt: skip
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    assert Message.model_validate_json(sending.body).model_dump_json(exclude_unset=True)
    assert "422" not in operation["responses"]
