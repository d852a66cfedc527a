"""What holds for every request: guards, headers, documentation, health."""

import subprocess
import sys

import pytest

from core.migrate import newest_revision
from core.settings import Settings
from tests.api.conftest import CATALOGUE
from tests.servers import run_api


@pytest.mark.parametrize("path", ["/datasets", "/jobs", "/teachers", "/jobs/job_1/cancel"])
def test_a_page_of_another_site_can_change_nothing(api, path):
    response = api.client.post(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert (response.status_code, response.json()["code"]) == (403, "cross_site_request")


def test_without_that_header_the_origin_tells(api):
    foreign = api.client.post("/datasets", headers={"Origin": "http://evil.example"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "cross_site_request")
    assert api.client.post("/datasets", headers={"Origin": "null"}).status_code == 403
    assert api.client.post("/datasets", headers={"Origin": api.url.rstrip("/")}).status_code == 201


@pytest.mark.parametrize("site", ["same-origin", "none", None])
def test_the_users_own_requests_pass(api, site):
    headers = {"Sec-Fetch-Site": site} if site else {}
    assert api.client.post("/datasets", headers=headers).status_code == 201
    assert api.client.get("/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7:80", 200),
        ("gpu-server:8000", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:80", 403),
    ],
)
def test_only_known_hosts_are_answered(make_settings, host, status):
    with run_api(make_settings(allowed_hosts=("gpu-server",))) as api:
        assert api.client.get("/healthz", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/jobs", "/no/such/page", "/docs"])
def test_every_answer_carries_the_security_headers(api, path):
    headers = api.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert ("unsafe-inline" in headers["content-security-policy"]) is (path == "/docs")


def test_the_documentation_needs_no_internet(api):
    page = api.client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert asset in page.text
        assert len(api.client.get(f"/static-offline-docs/{asset}").content) > 10_000


def test_the_openapi_document_shows_both_bodies_of_a_job_and_the_problems(api):
    document = api.client.get("/openapi.json").json()
    bodies = document["paths"]["/jobs"]["post"]["requestBody"]["content"]
    assert set(bodies) == {"application/json", "multipart/form-data"}
    assert {"teacher", "r", "k", "dataset_id", "probe"} <= bodies["application/json"]["schema"][
        "properties"
    ].keys()
    assert {"images", "teacher", "r", "k", "probe"} <= bodies["multipart/form-data"]["schema"][
        "properties"
    ].keys()
    assert "$ref" not in str(bodies)
    assert {"Problem", "FieldError"} <= document["components"]["schemas"].keys()
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    assert "create_job" in names
    for path in document["paths"].values():
        for operation in path.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_health_and_readiness_of_a_well_service(api):
    assert api.client.get("/healthz").json() == {"status": "ok"}
    ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")


def test_a_database_that_was_not_migrated_is_not_ready(tmp_path):
    with run_api(Settings(data_dir=tmp_path, teacher_catalogue=CATALOGUE)) as api:
        ready = api.client.get("/readyz")
        assert ready.status_code == 503
        failing = {name for name, check in ready.json()["checks"].items() if not check["ok"]}
        assert failing == {"migrations"}
        assert f"needs {newest_revision()}" in ready.json()["checks"]["migrations"]["reason"]
        jobs = api.client.get("/jobs")
        assert (jobs.status_code, jobs.json()["code"]) == (503, "database_unavailable")
        assert api.client.get("/healthz").status_code == 200


def test_a_storage_that_is_gone_is_not_ready(api):
    objects = api.settings.data_dir / "objects"
    objects.rmdir()
    objects.write_text("not a folder")
    ready = api.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["storage"]["ok"] is False
    assert ready.json()["checks"]["database"]["ok"] is True


def test_unknown_pages_and_methods_are_problems(api):
    for method, path, status in (("GET", "/nope", 404), ("DELETE", "/jobs", 405)):
        response = api.client.request(method, path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["instance"] == path


def test_the_api_never_loads_torch():
    script = "import sys, api.main; assert not {'torch', 'timm', 'wecolora'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
