"""Parts that go straight into a real S3 server."""

import hashlib
import time
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import select, update

from core import clock, retention
from core.models import DatasetPart, PartUpload
from core.storage import Storage
from tests.api.keys import as_owner
from tests.backends import run_s3
from tests.servers import run_api

BODY = b"an archive of photographs" * 1000


@pytest.fixture(scope="module")
def bucket():
    with run_s3() as variables:
        yield {name.removeprefix("WECOLORA_").lower(): value for name, value in variables.items()}


@pytest.fixture
def store_settings(bucket, tmp_path):
    """A prefix of its own for every test."""
    return {**bucket, "storage_url": f"s3://wecolora/{tmp_path.name}", "direct_uploads": True}


@pytest.fixture
def api(make_settings, store_settings):
    with run_api(make_settings(**store_settings)) as running:
        yield running


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def new_dataset(client):
    return client.post("/datasets").json()["id"]


def announce(client, dataset_id, content=BODY, number=1, **changed):
    body = {"filename": "photos.zip", "size_bytes": len(content), "sha256": sha256(content), **changed}
    return client.post(f"/datasets/{dataset_id}/parts/{number}/upload-url", json=body)


def put(target, content=BODY):
    return httpx2.request(target["method"], target["url"], headers=target["headers"], content=content)


def confirm(client, dataset_id, content=BODY, number=1):
    return client.post(f"/datasets/{dataset_id}/parts/{number}/confirm", json={"sha256": sha256(content)})


def objects(api, dataset_id):
    return api.resources.storage.list_keys(f"datasets/{dataset_id}")


def parts(client, dataset_id):
    return client.get(f"/datasets/{dataset_id}/parts").json()["data"]


def used_bytes(client):
    return client.get("/me").json()["owner"]["usage"]["bytes"]


def sweep(api):
    """What the dispatcher does, a day after every URL has ended."""
    with api.database.write() as session:
        session.execute(update(PartUpload).values(expires_at=clock.now_plus(-2 * clock.SECONDS_A_DAY)))
    with api.database.write() as session:
        count = retention.expire_part_uploads(session)
    with api.database.write() as session:
        for prefix, asked_at in retention.next_deletions(session):
            api.resources.storage.delete_prefix(prefix)
            retention.note_removed(session, prefix, asked_at)
    return count


def test_a_part_goes_straight_to_the_store_and_is_one_when_it_is_confirmed(api, store_settings):
    dataset_id = new_dataset(api.client)
    answer = announce(api.client, dataset_id)
    assert answer.status_code == 200, answer.text
    target = answer.json()
    assert (target["direct"], target["method"]) == (True, "PUT")
    assert f"http://{urlsplit(target['url']).netloc}" == store_settings["s3_endpoint"]
    assert target["confirm"] == f"/datasets/{dataset_id}/parts/1/confirm"
    assert target["expires_at"]
    assert put(target).status_code == 200
    assert parts(api.client, dataset_id) == []
    nothing = api.client.post(f"/datasets/{dataset_id}/complete")
    assert nothing.status_code == 422, "what is not confirmed is no part"
    made = confirm(api.client, dataset_id)
    assert made.status_code == 201, made.text
    again = confirm(api.client, dataset_id)
    assert (again.status_code, again.json()) == (200, made.json())
    (part,) = parts(api.client, dataset_id)
    assert (part["size_bytes"], part["sha256"], part["filename"]) == (len(BODY), sha256(BODY), "photos.zip")
    with api.database.read() as session:
        key = session.scalars(select(DatasetPart.key)).one()
    assert api.resources.storage.get_bytes(key) == BODY
    body = {"parts": [{"number": 1, "sha256": sha256(BODY)}]}
    assert api.client.post(f"/datasets/{dataset_id}/complete", json=body).status_code == 202
    late = announce(api.client, dataset_id, b"more", 2)
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
    assert sweep(api) == 1
    assert api.resources.storage.get_bytes(key) == BODY, "a part stays"


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (BODY[:-1], {}),
        (BODY + b"more", {}),
        (b"x" + BODY[1:], {}),
        (b"x" + BODY[1:], {"x-amz-checksum-sha256": "AAAA"}),
    ],
)
def test_the_store_takes_nothing_but_what_was_announced(api, content, headers):
    dataset_id = new_dataset(api.client)
    target = announce(api.client, dataset_id).json()
    target["headers"] |= headers
    assert put(target, content).status_code in (400, 403)
    without = httpx2.put(target["url"], content=BODY)
    assert without.status_code == 403, "the checksum is signed"
    assert objects(api, dataset_id) == []
    refused = confirm(api.client, dataset_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_uploaded")


def test_a_url_is_good_for_one_key_and_ends(make_settings, store_settings):
    with run_api(make_settings(**store_settings, upload_url_seconds=1)) as api:
        dataset_id = new_dataset(api.client)
        target = announce(api.client, dataset_id).json()
        elsewhere = target["url"].replace("/parts/00001-", "/parts/00002-")
        assert httpx2.put(elsewhere, headers=target["headers"], content=BODY).status_code == 403
        time.sleep(2.1)
        assert put(target).status_code == 403
        assert confirm(api.client, dataset_id).json()["code"] == "not_uploaded"
        assert put(announce(api.client, dataset_id).json()).status_code == 200, "another one is to be had"
        assert confirm(api.client, dataset_id).status_code == 201


def test_what_is_stored_with_another_size_or_hash_is_refused_and_removed(api):
    """A store that ignores what was signed."""
    dataset_id = new_dataset(api.client)
    for content, field in ((BODY + b"more than announced", "size_bytes"), (b"x" + BODY[1:], "sha256")):
        announce(api.client, dataset_id)
        with api.database.read() as session:
            upload = session.scalars(select(PartUpload)).one()
        signed = api.resources.direct_uploads.sign(upload.key, len(content), sha256(content), 60)
        assert httpx2.put(signed.url, headers=signed.headers, content=content).status_code == 200
        refused = confirm(api.client, dataset_id)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == field
        assert objects(api, dataset_id) == []
        assert parts(api.client, dataset_id) == []


def test_what_nobody_confirms_is_removed_and_counts_until_then(api):
    dataset_id = new_dataset(api.client)
    put(announce(api.client, dataset_id).json())
    announce(api.client, dataset_id, b"never sent", 2)
    assert len(objects(api, dataset_id)) == 1
    assert used_bytes(api.client) == len(BODY) + len(b"never sent")
    with api.database.write() as session:
        assert retention.expire_part_uploads(session) == 0, "it may still be on its way"
    assert sweep(api) == 2
    assert objects(api, dataset_id) == []
    assert used_bytes(api.client) == 0
    gone = confirm(api.client, dataset_id)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


def test_what_comes_by_a_url_after_its_dataset_was_deleted_is_removed(api):
    dataset_id = new_dataset(api.client)
    target = announce(api.client, dataset_id).json()
    assert api.client.delete(f"/datasets/{dataset_id}").status_code == 204
    assert put(target).status_code == 200
    assert confirm(api.client, dataset_id).status_code == 404
    sweep(api)
    assert objects(api, dataset_id) == []


def test_the_same_part_asked_for_again_is_the_same_place_and_counts_once(api):
    dataset_id = new_dataset(api.client)
    first, second = (announce(api.client, dataset_id).json()["url"].partition("?")[0] for _ in range(2))
    assert first == second
    assert used_bytes(api.client) == len(BODY)


def test_a_part_that_is_replaced_leaves_only_the_new_one(api):
    dataset_id = new_dataset(api.client)
    api.client.put(f"/datasets/{dataset_id}/parts/1", content=b"by the API").raise_for_status()
    put(announce(api.client, dataset_id).json())
    assert confirm(api.client, dataset_id).status_code == 200
    (key,) = objects(api, dataset_id)
    assert api.resources.storage.get_bytes(key) == BODY
    assert used_bytes(api.client) == len(BODY)
    other = announce(api.client, dataset_id, b"the third").json()
    put(other, b"the third")
    assert confirm(api.client, dataset_id, b"the third").status_code == 200
    (key,) = objects(api, dataset_id)
    assert api.resources.storage.get_bytes(key) == b"the third"


def test_quota_and_largest_upload_hold_before_a_url_is_given_out(make_settings, store_settings):
    with run_api(make_settings(**store_settings, quota_bytes=100, max_upload_bytes=90)) as api:
        dataset_id = new_dataset(api.client)
        large = announce(api.client, dataset_id, b"x" * 91)
        assert (large.status_code, large.json()["code"]) == (413, "payload_too_large")
        assert announce(api.client, dataset_id, b"x" * 60).status_code == 200
        beyond = announce(api.client, dataset_id, b"y" * 60, 2)
        assert (beyond.status_code, beyond.json()["code"]) == (403, "quota_exceeded")
        through = api.client.put(f"/datasets/{dataset_id}/parts/2", content=b"y" * 60)
        assert through.json()["code"] == "quota_exceeded", "what was promised to one is not given to another"
        assert used_bytes(api.client) == 60


def test_a_part_that_is_sent_again_since_no_answer_came_needs_no_further_room(make_settings, store_settings):
    with run_api(make_settings(**store_settings, quota_bytes=len(BODY))) as api:
        dataset_id = new_dataset(api.client)
        for status in (201, 200):
            assert put(announce(api.client, dataset_id).json()).status_code == 200
            assert confirm(api.client, dataset_id).status_code == status
        assert len(objects(api, dataset_id)) == 1
        assert used_bytes(api.client) == len(BODY)


def test_another_owners_dataset_gets_no_url(make_settings, store_settings):
    with run_api(make_settings(**store_settings, auth="keys")) as api:
        mine, theirs = as_owner(api, "mine"), as_owner(api, "theirs")
        dataset_id = new_dataset(mine)
        assert announce(theirs, dataset_id).status_code == 404
        put(announce(mine, dataset_id).json())
        assert confirm(theirs, dataset_id).status_code == 404
        assert confirm(mine, dataset_id).status_code == 201
        mine.close(), theirs.close()


def test_clients_are_sent_to_the_address_that_they_can_reach(make_settings, store_settings):
    public = {"s3_public_endpoint": "https://objects.example"}
    with run_api(make_settings(**store_settings, **public)) as api:
        target = announce(api.client, new_dataset(api.client)).json()
        assert target["url"].startswith(
            f"https://objects.example/wecolora/{Storage.from_settings(api.settings).prefix}/"
        )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"size_bytes": 0}, "size_bytes"),
        ({"sha256": "short"}, "sha256"),
        ({"filename": "a\nb"}, "filename"),
        ({"key": "elsewhere"}, "key"),
    ],
)
def test_what_cannot_be_announced_is_refused_at_the_field(api, changed, field):
    refused = announce(api.client, new_dataset(api.client), **changed)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_without_direct_uploads_the_answer_is_the_ordinary_upload(make_settings, store_settings, kind):
    changed = {"direct_uploads": True} if kind == "folder" else {**store_settings, "direct_uploads": False}
    with run_api(make_settings(**changed)) as api:
        dataset_id = new_dataset(api.client)
        target = announce(api.client, dataset_id, filename="Käse & Brot.zip").json()
        assert (target["direct"], target["confirm"], target["expires_at"]) == (False, None, None)
        wrong = api.client.put(target["url"], headers=target["headers"], content=b"something else")
        assert wrong.json()["code"] == "checksum_mismatch"
        sent = api.client.put(target["url"], headers=target["headers"], content=BODY)
        assert (sent.status_code, sent.json()["filename"]) == (201, "Käse & Brot.zip")
        assert confirm(api.client, dataset_id).status_code == 404
