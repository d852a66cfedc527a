"""API keys: who is let in, and to what."""

import socket
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.main import create_app
from core.principals import Scope
from tests.api.keys import View, as_owner, make_key, with_key
from tests.api.rows import queued_job
from tests.servers import run_api

PUBLIC = {"/healthz", "/readyz"}
BODIES = {"/keys": {"name": "x"}, "/jobs": {"teacher": "digits", "dataset_id": "ds_1"}}


@pytest.fixture
def keyed(make_settings):
    with run_api(make_settings(auth="keys")) as running:
        yield running


def operations(api):
    document = api.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_without_a_key_every_operation_but_the_probes_says_401_and_how_to_authenticate(keyed):
    for path, method, operation in operations(keyed):
        answer = keyed.client.request(method, path.replace("{number}", "1"), json=BODIES.get(path))
        if path in PUBLIC:
            assert answer.status_code == 200
            assert "security" not in operation
            continue
        assert (path, method, answer.status_code) == (path, method, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="wecolora"'
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unauthenticated"
        assert operation["security"] == [{"ApiKey": []}]


def test_the_openapi_document_describes_the_scheme(keyed):
    scheme = keyed.client.get("/openapi.json").json()["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


@pytest.mark.parametrize(
    ("scope", "read", "write", "admin"),
    [(Scope.READ, 200, 403, 403), (Scope.WRITE, 200, 201, 403), (Scope.ADMIN, 200, 201, 200)],
)
def test_a_scope_includes_the_ones_before_it(keyed, scope, read, write, admin):
    with as_owner(keyed, "lab", scope) as client:
        assert client.get("/jobs").status_code == read
        assert client.post("/datasets").status_code == write
        assert client.get("/audit").status_code == admin


def test_a_missing_scope_is_a_problem_that_names_it(keyed):
    with as_owner(keyed, "lab", Scope.READ) as client:
        answer = client.post("/datasets", json={"name": "photos"})
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert answer.json()["detail"] == "The API key has the scope 'read'; this needs 'write'."
    assert 'error="insufficient_scope", scope="write"' in answer.headers["www-authenticate"]


def test_a_key_is_shown_once_and_only_its_hash_is_stored(keyed):
    with as_owner(keyed, "root", Scope.ADMIN) as admin:
        made = admin.post("/keys", json={"name": "laptop", "owner": "lab", "scope": "write"})
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        key, prefix = made.json()["key"], made.json()["prefix"]
        listed = admin.get("/keys", params={"owner": "lab"})
    assert key.startswith(prefix + "_")
    assert listed.json()["data"] == [{name: made.json()[name] for name in listed.json()["data"][0]}]
    assert key not in listed.text
    with keyed.database.read() as session:
        rows = session.execute(text("select * from api_keys")).all()
    assert key not in str(rows)
    assert key.removeprefix(prefix + "_") not in str(rows)
    with with_key(keyed, key) as client:
        assert client.post("/datasets").json()["owner"] == "lab"


@pytest.mark.parametrize("wrong", ["wcl_", "wcl_0123456789_" + "0" * 48, "x" * 5000, "wcl_é", "Basic eDp5"])
def test_what_is_no_key_is_refused(keyed, wrong):
    answer = keyed.client.get("/jobs", headers={"Authorization": b"Bearer " + wrong.encode()})
    assert answer.status_code == 401


def test_a_key_with_another_secret_is_unknown_and_learns_nothing_of_the_real_one(keyed):
    key_id, key = make_key(keyed, "lab")
    forged = key[:-1] + ("0" if key[-1] != "0" else "1")
    with as_owner(keyed, "root", Scope.ADMIN) as admin:
        admin.delete(f"/keys/{key_id}").raise_for_status()
    with with_key(keyed, forged) as client:
        answer = client.get("/jobs")
    assert (answer.status_code, answer.json()["detail"]) == (401, "There is no such API key.")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_revoked_key_is_refused_at_once_and_revoking_twice_changes_nothing(keyed):
    key_id, key = make_key(keyed, "lab")
    with with_key(keyed, key) as client:
        first = client.delete(f"/keys/{key_id}")
        assert first.status_code == 200
        assert first.json()["revoked_at"] is not None
        answer = client.get("/jobs")
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")
        assert "was revoked" in answer.json()["detail"]
    with as_owner(keyed, "root", Scope.ADMIN) as admin:
        assert admin.delete(f"/keys/{key_id}").json()["revoked_at"] == first.json()["revoked_at"]
        assert admin.delete("/keys/key_nope").status_code == 404


def test_an_event_stream_ends_when_its_key_is_revoked(make_settings):
    with run_api(make_settings(auth="keys", event_keepalive_seconds=0.1)) as api:
        key_id, key = make_key(api, "lab")
        with with_key(api, key) as client:
            job_id = queued_job(View(api, client))
            url, headers = f"/jobs/{job_id}/events", {"Accept": "text/event-stream"}
            with client.stream("GET", url, headers=headers) as stream:
                lines = stream.iter_lines()
                assert any(line.startswith("event: state") for line in lines)
                client.delete(f"/keys/{key_id}").raise_for_status()
                assert not any(line.startswith("event") for line in lines), "it ends without another one"
            assert client.get(url, headers=headers).status_code == 401


def test_an_expired_key_is_refused_and_one_cannot_be_made(keyed):
    past = datetime.now(UTC) - timedelta(seconds=1)
    with with_key(keyed, make_key(keyed, "lab", expires_at=past)[1]) as client:
        answer = client.get("/jobs")
        assert answer.status_code == 401
        assert "has expired" in answer.json()["detail"]
    later = datetime.now(UTC) + timedelta(hours=1)
    with with_key(keyed, make_key(keyed, "lab", expires_at=later)[1]) as client:
        assert client.get("/jobs").status_code == 200
    with as_owner(keyed, "root", Scope.ADMIN) as admin:
        refused = admin.post("/keys", json={"name": "x", "expires_at": past.isoformat()})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "expires_at")


def test_the_last_use_is_noted_and_reading_again_does_not_write(keyed):
    _, key = make_key(keyed, "lab")
    with with_key(keyed, key) as client:
        before = client.get("/keys").json()["data"][0]["last_used_at"]
        used = client.get("/keys").json()["data"][0]["last_used_at"]
        assert before == used
    age = datetime.now(UTC) - datetime.fromisoformat(used)
    assert timedelta(0) <= age < timedelta(seconds=30)


def test_owners_see_and_revoke_their_own_keys_only(keyed):
    mine, others = make_key(keyed, "lab"), make_key(keyed, "shop")
    with with_key(keyed, mine[1]) as client:
        assert [key["id"] for key in client.get("/keys").json()["data"]] == [mine[0]]
        assert client.get("/keys", params={"owner": "shop"}).json()["data"] == []
        assert client.delete(f"/keys/{others[0]}").status_code == 404
        assert client.post("/keys", json={"name": "more"}).status_code == 403
    with with_key(keyed, others[1]) as client:
        assert client.get("/jobs").status_code == 200


@pytest.mark.parametrize("owner", ["", "Lab", "a b", "../x", "-a", "a" * 41, "lab\n"])
def test_an_owners_name_is_plain(keyed, owner):
    with as_owner(keyed, "root", Scope.ADMIN) as admin:
        refused = admin.post("/keys", json={"name": "x", "owner": owner})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "owner")


def test_where_no_keys_are_asked_for_everything_belongs_to_the_local_owner(api):
    made = api.client.post("/datasets", headers={"Authorization": "Bearer nonsense"})
    assert (made.status_code, made.json()["owner"]) == (201, "local")
    assert api.client.post("/keys", json={"name": "first", "scope": "admin"}).status_code == 201


def test_without_keys_only_this_machine_is_answered(make_settings):
    address = _address_of_this_machine()
    with run_api(make_settings(), host="0.0.0.0") as api:
        outside = httpx2.get(f"http://{address}:{api.client.base_url.port}/jobs")
        assert (outside.status_code, outside.json()["code"]) == (403, "not_authenticating")
        assert "WECOLORA_AUTH=keys" in outside.json()["detail"]
        assert api.client.get("/jobs").status_code == 200
    for settings in ({"auth": "keys"}, {"insecure_bind": True}):
        with run_api(make_settings(**settings), host="0.0.0.0") as api:
            status = httpx2.get(f"http://{address}:{api.client.base_url.port}/jobs").status_code
            assert status == (401 if "auth" in settings else 200)


@pytest.mark.parametrize(
    ("reached_by", "settings", "status"),
    [
        ("192.0.2.7", {}, 403),
        ("2001:db8::7", {}, 403),
        ("192.0.2.7", {"insecure_bind": True}, 200),
        ("192.0.2.7", {"auth": "keys"}, 401),
        ("127.0.0.1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
    ],
)
def test_the_address_that_a_request_came_in_by_decides(make_settings, reached_by, settings, status):
    """As the test above, for machines that have no address but loopback: the server's part is played here."""
    app = create_app(make_settings(**settings))

    async def reached(scope, receive, send):
        await app(scope | {"server": (reached_by, 8000)}, receive, send)

    with TestClient(reached, base_url="http://localhost") as client:
        assert client.get("/jobs").status_code == status


def _address_of_this_machine():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return probe.getsockname()[0]
