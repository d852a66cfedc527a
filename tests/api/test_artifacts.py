"""Downloading what a job made."""

import pytest

from core.leases import release
from tests.api.rows import CONTENT, finish, queued_job, running_job

NAME = "student.safetensors"


@pytest.fixture
def finished(api):
    claim = running_job(api)
    digest = finish(api, claim)
    return f"/jobs/{claim.id}/artifacts/{NAME}", digest


def test_a_file_is_sent_whole_with_what_a_client_needs_to_check_it(api, finished):
    url, digest = finished
    response = api.client.get(url)
    assert response.content == CONTENT
    assert response.headers["content-length"] == str(len(CONTENT))
    assert response.headers["etag"] == f'"{digest}"'
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"] == f"attachment; filename*=UTF-8''{NAME}"
    (listed,) = api.client.get(url.rpartition("/")[0]).json()["data"]
    assert (listed["name"], listed["sha256"], listed["links"]["self"]) == (NAME, digest, url)
    head = api.client.head(url)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(CONTENT)))


SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes=-{SIZE + 5}", 0, SIZE),
        (f"bytes=5-{SIZE + 5}", 5, SIZE),
        (f"bytes={SIZE - 1}-{SIZE - 1}", SIZE - 1, SIZE),
    ],
)
def test_one_range_is_sent(api, finished, header, start, end):
    response = api.client.get(finished[0], headers={"Range": header})
    assert response.status_code == 206
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert response.content == CONTENT[start:end]


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE + 1}-{SIZE + 2}", "bytes=-0"])
def test_a_range_outside_the_file_is_416(api, finished, header):
    response = api.client.get(finished[0], headers={"Range": header})
    assert (response.status_code, response.json()["code"]) == (416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("header", ["bytes=0-1,3-4", "bytes=5-2", "bytes=-", "items=0-1", "bytes=a-b"])
def test_a_range_of_another_form_gets_the_whole_file(api, finished, header):
    response = api.client.get(finished[0], headers={"Range": header})
    assert (response.status_code, response.content) == (200, CONTENT)


def test_a_known_version_is_not_sent_again_and_an_old_one_not_continued(api, finished):
    url, digest = finished
    assert api.client.get(url, headers={"If-None-Match": f'"x", "{digest}"'}).status_code == 304
    continued = {"Range": "bytes=10-", "If-Range": f'"{digest}"'}
    assert api.client.get(url, headers=continued).status_code == 206
    outdated = {"Range": "bytes=10-", "If-Range": '"other"'}
    assert api.client.get(url, headers=outdated).content == CONTENT


def test_nothing_can_be_downloaded_before_success(api):
    claim = running_job(api)
    api.resources.storage.put_bytes(f"jobs/{claim.id}/attempts/1/{NAME}", CONTENT[:10])
    base = f"/jobs/{claim.id}/artifacts"
    assert api.client.get(base).json() == {"data": []}
    assert api.client.get(f"{base}/{NAME}").status_code == 404
    with api.database.write() as session:
        release(session, claim, "killed", True)
    assert api.client.get(f"{base}/{NAME}").status_code == 404


def test_a_file_whose_object_is_not_whole_is_not_sent(api, finished):
    (key,) = api.resources.storage.list_keys("jobs")
    api.resources.storage.put_bytes(key, CONTENT[:10])
    response = api.client.get(finished[0])
    assert (response.status_code, response.json()["code"]) == (500, "object_missing")


@pytest.mark.parametrize("name", ["other", "..%2f..%2fwecolora.db", "%00"])
def test_other_names_are_404(api, finished, name):
    assert api.client.get(finished[0].replace(NAME, name)).status_code == 404


def test_files_of_no_job_are_404(api):
    assert api.client.get("/jobs/job_unknown/artifacts").status_code == 404
    assert api.client.get(f"/jobs/job_unknown/artifacts/{NAME}").status_code == 404
    assert api.client.get(f"/jobs/{queued_job(api)}/artifacts").json() == {"data": []}
