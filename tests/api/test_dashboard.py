"""What the API serves under /dashboard: the page, its assets, its policy, and a word where it was not built."""

import re
from pathlib import Path

import pytest

from tests.servers import run_api

PAGE = (
    '<!doctype html><meta property="csp-nonce" nonce="__CSP_NONCE__">'
    '<script type="module" src="/dashboard/assets/index-abc123.js" nonce="__CSP_NONCE__"></script>'
)
SCRIPT = "console.log('a page of some length');\n" * 100


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as the build leaves it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "assets" / "index-abc123.js").write_text(SCRIPT)
    (folder / ".sources").write_text("digest")
    (tmp_path / "secret.txt").write_text("a secret")
    return folder


@pytest.fixture
def served(make_settings, built):
    with run_api(make_settings(), dashboard=built) as api:
        yield api


def directives(response) -> dict[str, str]:
    policy = response.headers["content-security-policy"]
    return dict(each.strip().partition(" ")[::2] for each in policy.split(";"))


def test_the_root_leads_to_the_dashboard(served):
    home = served.client.get("/")
    assert (home.status_code, home.headers["location"]) == (307, "/dashboard/")
    assert served.client.get("/", follow_redirects=True).status_code == 200


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/jobs/job_01", "/dashboard/datasets?state=ready"])
def test_every_address_of_the_dashboard_is_the_page(served, path):
    page = served.client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"


def test_each_answer_has_a_nonce_of_its_own_and_lets_no_inline_script_in(served):
    nonces = set()
    for _ in range(2):
        page = served.client.get("/dashboard/")
        found = directives(page)
        nonce = re.fullmatch(r"'self' 'nonce-(\S{16,})'", found["style-src"])[1]
        assert page.text.count(f'nonce="{nonce}"') == 2
        assert "__CSP_NONCE__" not in page.text
        assert found["script-src"] == found["connect-src"] == found["worker-src"] == "'self'"
        assert found["default-src"] == found["frame-ancestors"] == "'none'"
        assert "unsafe" not in page.headers["content-security-policy"]
        nonces.add(nonce)
    assert len(nonces) == 2


def test_assets_are_kept_for_ever_and_compressed(served):
    asset = served.client.get("/dashboard/assets/index-abc123.js", headers={"Accept-Encoding": "gzip"})
    assert asset.text == SCRIPT
    assert asset.headers["content-encoding"] == "gzip"
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in asset.headers["content-type"]


def test_a_worker_s_script_may_reach_the_service(served):
    # A web worker obeys the policy of its own script's answer, not that of the page.
    asset = served.client.get("/dashboard/assets/index-abc123.js")
    assert directives(asset)["connect-src"] == "'self'"


def test_pages_and_workers_may_reach_the_store_where_uploads_go_straight_there(make_settings, built):
    settings = make_settings(
        storage_url="s3://wecolora/some/prefix", s3_endpoint="http://store:8333", s3_allow_http=True,
        s3_access_key_id="key", s3_secret_access_key="secret", s3_public_endpoint="https://objects.example:8443",
        direct_uploads=True,
    )  # fmt: skip
    with run_api(settings, dashboard=built) as served:
        for path in ("/dashboard/", "/dashboard/assets/index-abc123.js"):
            connect = directives(served.client.get(path))["connect-src"]
            assert connect == "'self' https://objects.example:8443"
        assert served.client.get("/me").json()["direct_uploads"] is True


@pytest.mark.parametrize("name", ["index-old.js", "../index.html", "..%2f..%2fsecret.txt", "..%2f.sources"])
def test_an_asset_that_is_none_is_not_found(served, name):
    answer = served.client.get(f"/dashboard/assets/{name}")
    assert "a secret" not in answer.text
    assert "digest" not in answer.text
    if not name.startswith("../"):
        assert answer.status_code == 404
        assert "immutable" not in answer.headers.get("cache-control", "")


def test_without_a_build_the_page_says_how_to_make_one_and_appears_when_it_is_made(make_settings, built):
    page = built / "index.html"
    page.unlink()
    with run_api(make_settings(), dashboard=built) as api:
        missing = api.client.get("/dashboard/")
        assert missing.status_code == 503
        assert "./run build" in missing.text
        assert "/docs" in missing.text
        assert api.client.get("/healthz").status_code == 200
        page.write_text(PAGE)
        assert api.client.get("/dashboard/").status_code == 200


def test_the_page_needs_no_key_and_the_api_behind_it_does(make_settings, built):
    with run_api(make_settings(auth="keys"), dashboard=built) as api:
        assert api.client.get("/dashboard/").status_code == 200
        assert api.client.get("/jobs").status_code == 401
