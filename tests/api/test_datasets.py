"""Uploading a dataset in parts."""

import base64
import hashlib
import socket
import threading

import pytest

from tests.api.rows import count_rows, uploaded_dataset
from tests.servers import run_api, wait_until


def content_digest(content):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.fixture
def dataset_id(api):
    response = api.client.post("/datasets", json={"name": "holiday"})
    assert response.status_code == 201
    assert response.headers["location"] == f"/datasets/{response.json()['id']}"
    return response.json()["id"]


def put(api, dataset_id, number, content, **headers):
    return api.client.put(f"/datasets/{dataset_id}/parts/{number}", content=content, headers=headers)


def files_on_disk(api):
    """Also those that are being written and have no key yet."""
    return [path for path in (api.settings.data_dir / "objects").rglob("*") if path.is_file()]


def object_keys(api):
    return api.resources.storage.list_keys("datasets")


def test_a_part_is_stored_and_listed(api, dataset_id):
    response = api.client.put(
        f"/datasets/{dataset_id}/parts/7?filename=a%20b.zip",
        content=b"content",
        headers={"Content-Type": "application/zip", "Content-Digest": content_digest(b"content")},
    )
    part = response.json()
    assert response.status_code == 201
    assert part["sha256"] == hashlib.sha256(b"content").hexdigest()
    assert (part["number"], part["size_bytes"], part["filename"]) == (7, 7, "a b.zip")
    assert api.client.get(f"/datasets/{dataset_id}/parts").json()["data"] == [part]


def test_a_part_sent_again_is_the_same_part_and_other_bytes_replace_it(api, dataset_id):
    first = put(api, dataset_id, 1, b"one")
    again = put(api, dataset_id, 1, b"one")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    replaced = put(api, dataset_id, 1, b"two")
    assert replaced.status_code == 200
    assert replaced.json()["sha256"] == hashlib.sha256(b"two").hexdigest()
    (key,) = object_keys(api)
    assert api.resources.storage.get_bytes(key) == b"two"


def test_parts_arrive_in_parallel(api, dataset_id):
    threads = [
        threading.Thread(target=put, args=(api, dataset_id, number, bytes([number]) * 100_000))
        for number in range(1, 13)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = api.client.get(f"/datasets/{dataset_id}/parts").json()["data"]
    assert [part["number"] for part in parts] == list(range(1, 13))
    assert {part["size_bytes"] for part in parts} == {100_000}


@pytest.mark.parametrize(
    ("digest", "code"),
    [
        (content_digest(b"other"), "checksum_mismatch"),
        ("sha-256=:AAAA:", "invalid_request"),
        ("sha-256=:?:", "invalid_request"),
    ],
)
def test_bytes_that_are_not_those_announced_are_refused_and_not_kept(api, dataset_id, digest, code):
    response = put(api, dataset_id, 1, b"content", **{"Content-Digest": digest})
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["errors"][0]["field"] == "Content-Digest"
    assert object_keys(api) == []
    assert count_rows(api)["dataset_parts"] == 0


def test_a_digest_of_another_kind_is_ignored(api, dataset_id):
    assert put(api, dataset_id, 1, b"content", **{"Content-Digest": "md5=:AAAA:"}).status_code == 201


@pytest.mark.parametrize(("number", "content"), [(0, b"x"), (10_001, b"x"), ("one", b"x"), (1, b"")])
def test_a_wrong_number_or_an_empty_part_is_refused(api, dataset_id, number, content):
    assert put(api, dataset_id, number, content).status_code == 422
    assert object_keys(api) == []


def test_a_part_of_no_dataset_is_404(api):
    response = put(api, "ds_unknown", 1, b"x")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("announces_length", [True, False])
def test_a_body_beyond_the_limit_is_refused_while_it_is_read(make_settings, announces_length):
    with run_api(make_settings(max_upload_bytes=1000, max_json_bytes=200)) as api:
        dataset_id = api.client.post("/datasets", json={}).json()["id"]
        chunks = [b"x" * 400] * 4
        body = b"".join(chunks) if announces_length else iter(chunks)
        response = put(api, dataset_id, 1, body)
        assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
        assert "1,000 bytes" in response.json()["detail"]
        assert object_keys(api) == []
        body = b'{"name": "%s"}' % (b"x" * 400)
        response = api.client.post("/datasets", content=body if announces_length else iter([body]))
        assert response.status_code == 413
        form = {"images": ("a.zip", b"x" * 2000)}
        assert api.client.post("/jobs", data={"teacher": "digits"}, files=form).status_code == 413


def test_an_upload_that_breaks_off_leaves_nothing(api, dataset_id):
    host, port = api.client.base_url.host, api.client.base_url.port
    with socket.create_connection((host, port)) as connection:
        head = f"PUT /datasets/{dataset_id}/parts/1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 20_000_000)
        wait_until(lambda: files_on_disk(api), seconds=10)
    wait_until(lambda: not files_on_disk(api), seconds=10)
    assert api.client.get("/healthz").status_code == 200
    assert object_keys(api) == []
    assert count_rows(api)["dataset_parts"] == 0


def test_complete_twice_gives_the_same_answer(api, dataset_id):
    digest = put(api, dataset_id, 1, b"one").json()["sha256"]
    body = {"parts": [{"number": 1, "sha256": digest.upper()}]}
    first = api.client.post(f"/datasets/{dataset_id}/complete", json=body)
    again = api.client.post(f"/datasets/{dataset_id}/complete")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first.json()["state"] == "ingesting"
    late = put(api, dataset_id, 2, b"late")
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")


def test_completing_names_every_part_that_is_missing_or_differs(api, dataset_id):
    put(api, dataset_id, 1, b"one")
    put(api, dataset_id, 3, b"three")
    parts = [{"number": 1, "sha256": "0" * 64}, {"number": 2, "sha256": "0" * 64}]
    response = api.client.post(f"/datasets/{dataset_id}/complete", json={"parts": parts})
    problems = {error["field"]: error["message"] for error in response.json()["errors"]}
    assert response.status_code == 422
    assert "upload it again" in problems["parts.1"]
    assert "not uploaded" in problems["parts.2"]
    assert "not in the list" in problems["parts.3"]
    assert api.client.get(f"/datasets/{dataset_id}").json()["state"] == "uploading"


def test_a_dataset_without_parts_cannot_be_completed(api, dataset_id):
    response = api.client.post(f"/datasets/{dataset_id}/complete")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "parts")


def test_datasets_are_listed_by_state(api, dataset_id):
    ingesting = uploaded_dataset(api)
    page = api.client.get("/datasets?state=ingesting").json()
    assert [row["id"] for row in page["data"]] == [ingesting]
    assert {row["id"] for row in api.client.get("/datasets").json()["data"]} == {dataset_id, ingesting}
    assert api.client.get("/datasets/ds_unknown").status_code == 404
    assert api.client.get(f"/datasets/{ingesting}/report").status_code == 404
