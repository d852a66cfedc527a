"""Creating, reading and cancelling jobs."""

import base64
import json
import shutil
from functools import partial

import pytest
from sqlalchemy import text

from core.leases import JobError, claim_dataset, fail_dataset
from core.queries.datasets import list_parts
from core.recipes import load_engine_options
from core.settings import Settings
from tests.api.conftest import CATALOGUE
from tests.api.rows import count_rows, finish, queued_job, ready_dataset, running_job, uploaded_dataset
from tests.servers import run_api, wait_until

BEST_EPOCHS = load_engine_options().values_of("best")["epochs"]


def sent_ids(api, queue):
    """The ids in the messages that wait in the broker."""
    found = []
    with api.resources.celery.connection_for_read() as connection:
        channel = connection.default_channel
        while channel._size(queue):
            found.append(json.loads(_body(channel._get(queue)))[0][0])
    return found


def _body(payload):
    return base64.b64decode(payload["body"])


def test_a_json_body_creates_a_queued_job(api):
    dataset_id = ready_dataset(api)
    body = {"teacher": "digits", "r": 3, "k": 8, "dataset_id": dataset_id, "epochs": 2, "name": "first"}
    response = api.client.post("/jobs", json=body)
    job = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert (job["state"], job["r"], job["k"], job["options"]["epochs"]) == ("queued", 3, 8, 2)
    assert job["teacher"] == {
        "name": "sample-digits",
        "kind": "bundled",
        "source": "samples/digits_teacher",
        "architecture": "vit_test_patch4_32",
        "image_size": 32,
        "depth": 12,
        "embed_dim": 64,
        "teacher_id": None,
        "mean": None,
        "std": None,
    }
    assert api.client.get(response.headers["location"]).json() == job
    assert job["load"] is None


def test_the_workers_are_told_of_a_job_that_can_run(api):
    job_id = queued_job(api)
    wait_until(lambda: sent_ids(api, "jobs") == [job_id], seconds=5, pause=0.1)


def test_an_unset_rank_is_the_largest_sensible_one(api):
    body = {"teacher": "digits", "dataset_id": ready_dataset(api)}
    assert api.client.post("/jobs", json=body).json()["k"] == 64


@pytest.mark.parametrize(
    ("given", "method", "recipe", "init", "epochs"),
    [
        ({}, "wecolora", "best", "closed-form", BEST_EPOCHS),
        ({"recipe": "paper", "epochs": 3}, "wecolora", "paper", "copy", 3),
        ({"recipe": "instant"}, "wecolora", "instant", "closed-form", 0),
        ({"method": "kd"}, "kd", "paper", "copy", 10),
    ],
)
def test_a_job_says_what_was_given_and_what_it_came_to(api, given, method, recipe, init, epochs):
    body = {"teacher": "digits", "dataset_id": ready_dataset(api), "seed": 5, **given, "lr": None}
    created = api.client.post("/jobs", json=body).json()
    job = api.client.get(f"/jobs/{created['id']}").json()
    assert job == created
    assert job["given"] == {"seed": 5, **given}
    assert (job["method"], job["recipe"]) == (method, recipe)
    options = job["options"]
    assert (options["init"], options["epochs"], options["seed"], options["k"]) == (init, epochs, 5, 64)


OUT_OF_RANGE = [
    ("r", 0, "1 to 12"),
    ("r", 13, "1 to 12"),
    ("r", 5000, "1 to 12"),
    ("r", 10**4000, "1 to 12"),
    ("r", "two", "1 to 12"),
    ("k", 0, "1 to 64"),
    ("k", 65, "1 to 64"),
    ("k", -1, "1 to 64"),
    ("layers", "0,12", "0 to 11, each once, in ascending order"),
    ("layers", "3,1", "0 to 11, each once, in ascending order"),
    ("layers", "1,1", "0 to 11, each once, in ascending order"),
    ("image_size", 30, "multiples of 4 from 8"),
    ("image_size", 4, "multiples of 4 from 8"),
    ("image_size", 0, "multiples of 4 from 8"),
    ("method", "magic", "wecolora, weco-kd, kd, weco-lora-qv, weco, deit, minivit, dmae"),
    ("recipe", "grandma", "paper, best, instant"),
    ("policy", "middle", "last-of-group, first-of-group, middle-of-group, both-ends, measured"),
    ("init", "random", "copy, closed-form"),
    ("refit_views", 0, "1 to 1000"),
    ("refit_ridge", 0, "above 0 to 1000000.0"),
    ("refit_ridge", "inf", "above 0 to 1000000.0"),
    ("adapter", "vera", "lora, rslora, dora"),
    ("lora_alpha", -1, "above 0 to 1000000.0"),
    ("lora_init", "zeros", "kaiming, gaussian, orthogonal, eva"),
    ("epochs", -1, "0 to 1000"),
    ("epochs", 1001, "0 to 1000"),
    ("views", 0, "1 to 1000"),
    ("smallest_crop", 0, "above 0 to 1"),
    ("loss", "l2", "l1, smooth-l1, cosine"),
    ("normalise_targets", "perhaps", "true, false"),
    ("cls_weight", -1, "0 to 1000000.0"),
    ("block_weight", "nan", "0 to 1000000.0"),
    ("pseudo_labels", "loud", "hard, soft"),
    ("pseudo_labels", "soft", "left out"),
    ("mask_ratio", 1, "above 0 to below 1"),
    ("mask_ratio", 0.5, "left out"),
    ("lr", 0, "above 0 to 1"),
    ("lr", 2, "above 0 to 1"),
    ("lr", "nan", "above 0 to 1"),
    ("warmup_epochs", -1, "0 to 1000"),
    ("warmup_epochs", BEST_EPOCHS, f"0 to below {BEST_EPOCHS}"),
    ("weight_decay", 2, "0 to 1"),
    ("batch_size", 0, "1 to 4096"),
    ("accumulate", 0, "1 to 1024"),
    ("seed", -1, "0 to 4294967295"),
    ("device", "tpu", "auto, cpu, cuda"),
    ("precision", "fp8", "auto, fp32, bf16"),
    ("few_shot_ratio", 0, "above 0 to 1"),
    ("few_shot_ratio", 1.5, "above 0 to 1"),
    ("loss_place", "middle", "before-norm, after-norm"),
]
TOGETHER = [
    ({"method": "kd", "epochs": 0}, "epochs", "at least 1"),
    ({"method": "minivit", "recipe": "instant"}, "recipe", "paper or best"),
    ({"recipe": "paper", "refit_views": 3}, "refit_views", "left out"),
    ({"epochs": 4, "warmup_epochs": 4}, "warmup_epochs", "0 to below 4"),
]


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory, sqlite_template):
    """One server for requests that change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copy(sqlite_template, folder / "wecolora.db")
    with run_api(Settings(data_dir=folder, teacher_catalogue=CATALOGUE)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_dataset(shared_api):
    return ready_dataset(shared_api)


@pytest.mark.parametrize(("field", "value", "allowed"), OUT_OF_RANGE)
@pytest.mark.parametrize("encoding", ["json", "form"])
def test_a_value_out_of_range_is_refused_by_name_before_anything_is_stored(
    shared_api, shared_dataset, field, value, allowed, encoding
):
    before = count_rows(shared_api)
    fields = {"teacher": "sample-digits", field: value}
    if encoding == "json":
        response = shared_api.client.post("/jobs", json={**fields, "dataset_id": shared_dataset})
    else:
        files = {"images": ("photos.zip", b"PK")}
        response = shared_api.client.post(
            "/jobs", data={name: str(each) for name, each in fields.items()}, files=files
        )
    problem = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    (error,) = [each for each in problem["errors"] if each["field"].split(".")[0] == field]
    assert error["allowed"] == allowed
    assert field in problem["detail"]
    assert allowed in problem["detail"]
    assert count_rows(shared_api) == before
    assert len(shared_api.resources.storage.list_keys("datasets")) == before["dataset_parts"]


def test_a_job_that_no_device_has_room_for_is_refused(make_settings):
    with run_api(make_settings(device_gib=6, teacher_catalogue=None)) as api:
        ask = partial(api.client.post, "/jobs?dry_run=true")
        refused = ask(json={"teacher": "vit_large_patch14_dinov2.lvd142m"})
        smaller = ask(json={"teacher": "vit_large_patch14_dinov2.lvd142m", "image_size": 224})
    error = refused.json()["errors"][0]
    assert (refused.status_code, error["field"], error["allowed"]) == (422, "teacher", "at most 6 GiB")
    assert smaller.status_code == 200
    assert 2**30 < smaller.json()["device_bytes"] < 6 * 2**30
    assert "checkpoint_activations" in error["message"]


def test_more_devices_than_the_largest_worker_has_are_refused(shared_api, shared_dataset, make_settings):
    body = {"teacher": "sample-digits", "dataset_id": shared_dataset, "devices": 2}
    refused = shared_api.client.post("/jobs", json=body)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["field"], error["allowed"]) == (422, "devices", "1 to 1")
    assert "WECOLORA_DEVICES" in refused.json()["detail"]
    with run_api(make_settings(devices=2)) as api:
        made = api.client.post("/jobs", json={**body, "dataset_id": ready_dataset(api)})
        assert (made.status_code, made.json()["options"]["devices"]) == (201, 2)


@pytest.mark.parametrize(("options", "field", "allowed"), TOGETHER)
def test_options_that_do_not_go_together_are_refused_before_anything_is_stored(
    shared_api, shared_dataset, options, field, allowed
):
    before = count_rows(shared_api)
    body = {"teacher": "digits", "dataset_id": shared_dataset, **options}
    response = shared_api.client.post("/jobs", json=body)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["field"], error["allowed"], error["input"]) == (field, allowed, options[field])
    assert count_rows(shared_api) == before


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"teacher": "sample-digit"}, "teacher", "did you mean sample-digits"),
        ({"teacher": "swin_base_patch4_window7_224"}, "teacher", "different widths"),
        ({"teacher": "resnet50.a1_in1k"}, "teacher", "convolutional"),
        ({"teacher": "tch_unknown"}, "teacher", "no uploaded teacher"),
        ({"teacher": None}, "teacher", "string"),
        ({"teacher": "fixed_size_teacher", "image_size": 64}, "image_size", "one size"),
        ({"dataset_id": "ds_unknown"}, "dataset_id", "There is no dataset"),
        ({"probe": {"dataset_id": "ds_unknown"}}, "probe.dataset_id", "There is no dataset"),
        ({"learning_rate": 1}, "learning_rate", "not permitted"),
        ({"name": ""}, "name", "at least 1"),
        ({"name": "a\x00b"}, "name", "pattern"),
    ],
)
def test_a_request_that_cannot_work_is_refused_with_the_reason(
    shared_api, shared_dataset, changed, field, words
):
    before = count_rows(shared_api)
    body = {"teacher": "sample-digits", "dataset_id": shared_dataset, **changed}
    response = shared_api.client.post("/jobs", json=body)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]
    assert count_rows(shared_api) == before


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff", b'{"teacher": 1e999}'])
def test_a_body_that_is_no_json_object_is_refused(shared_api, body):
    response = shared_api.client.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"


def test_another_content_type_is_refused(shared_api):
    response = shared_api.client.post("/jobs", content=b"x", headers={"Content-Type": "text/plain"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_a_dataset_that_is_still_uploading_or_has_failed_is_refused(api):
    uploading = api.client.post("/datasets", json={}).json()["id"]
    failed = uploaded_dataset(api)
    with api.database.write() as session:
        held = claim_dataset(session, failed, "worker-1", 30)
        fail_dataset(session, held, JobError("no_images", "no image could be read"))
    for dataset_id, words in ((uploading, "complete its upload"), (failed, "no image could be read")):
        response = api.client.post("/jobs", json={"teacher": "digits", "dataset_id": dataset_id})
        assert response.status_code == 422
        assert words in response.json()["detail"]
    assert count_rows(api)["jobs"] == 0


def test_a_job_may_wait_for_a_dataset_that_is_being_read(api):
    body = {"teacher": "digits", "dataset_id": uploaded_dataset(api)}
    assert api.client.post("/jobs", json=body).status_code == 201


def test_a_form_brings_the_images_along(api):
    files = [
        ("images", ("a.zip", b"first archive")),
        ("images", ("b.png", b"an image")),
        ("probe", ("labelled.zip", b"labelled")),
    ]
    response = api.client.post("/jobs", data={"teacher": "digits", "r": "2", "layers": "1,3,11"}, files=files)
    job = response.json()
    assert response.status_code == 201
    assert (job["state"], job["options"]["layers"]) == ("queued", [1, 3, 11])
    images = api.client.get(f"/datasets/{job['dataset_id']}").json()
    probe = api.client.get(f"/datasets/{job['probe']['dataset_id']}").json()
    assert (images["state"], probe["state"], probe["name"]) == ("ingesting", "ingesting", "labelled.zip")
    with api.database.read() as session:
        parts = list_parts(session, job["dataset_id"])
        assert [part.filename for part in parts] == ["a.zip", "b.png"]
        assert [api.resources.storage.get_bytes(part.key) for part in parts] == [
            b"first archive",
            b"an image",
        ]
    expected = {images["id"], probe["id"]}
    found = set()
    wait_until(lambda: found.update(sent_ids(api, "datasets")) or found == expected, seconds=5, pause=0.1)


@pytest.mark.parametrize(
    ("fields", "files", "field", "words"),
    [
        ({"images": "photos.zip"}, {}, "images", "-F images=@photos.zip"),
        ({}, {"picture": ("a.png", b"x")}, "picture", "text, not a file"),
        ({}, {"images": ("a.zip", b"")}, "images", "empty"),
        ({}, {"probe": ("a.zip", b"x")}, "images", "at least one file"),
        ({"r": ["1", "2"]}, {"images": ("a.zip", b"x")}, "r", "twice"),
        ({"dataset_id": "ds_1"}, {"images": ("a.zip", b"x")}, "dataset_id", "not permitted"),
    ],
)
def test_a_wrong_form_names_its_field(shared_api, fields, files, field, words):
    before = count_rows(shared_api)
    # The teacher goes as a part without a file name, so that the body is multipart in every case.
    sent = {"teacher": (None, b"sample-digits"), **files}
    response = shared_api.client.post("/jobs", data=fields, files=sent)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]
    assert count_rows(shared_api) == before


def test_a_job_is_created_although_the_broker_is_down(make_settings):
    with run_api(make_settings(broker_url="redis://127.0.0.1:1/0")) as api:
        dataset_id = api.client.post("/datasets", json={}).json()["id"]
        api.client.put(f"/datasets/{dataset_id}/parts/1", content=b"x")
        assert api.client.post(f"/datasets/{dataset_id}/complete").status_code == 202
        body = {"teacher": "digits", "dataset_id": dataset_id}
        assert api.client.post("/jobs", json=body).status_code == 201
        readiness = api.client.get("/readyz")
        assert readiness.status_code == 503
        checks = readiness.json()["checks"]
        assert {name: check["ok"] for name, check in checks.items()} == {
            "database": True,
            "migrations": True,
            "storage": True,
            "broker": False,
        }


def test_cancel_is_idempotent_and_leaves_a_finished_job_alone(api):
    queued = queued_job(api)
    assert [api.client.post(f"/jobs/{queued}/cancel").json()["state"] for _ in range(2)] == ["cancelled"] * 2
    claim = running_job(api)
    for _ in range(2):
        job = api.client.post(f"/jobs/{claim.id}/cancel").json()
        assert (job["state"], job["cancel_requested_at"] is None) == ("running", False)
    finish(api, claim)
    job = api.client.post(f"/jobs/{claim.id}/cancel").json()
    assert (job["state"], job["load"]) == (
        "succeeded",
        'timm.create_model("local-dir:student", pretrained=True)',
    )
    assert api.client.post("/jobs/job_unknown/cancel").status_code == 404


def test_pages_hold_every_job_once_newest_first(api):
    dataset_id = ready_dataset(api)
    created = [
        api.client.post("/jobs", json={"teacher": "digits", "dataset_id": dataset_id}).json()["id"]
        for _ in range(5)
    ]
    seen, url = [], "/jobs?limit=2&state=queued"
    while url:
        response = api.client.get(url)
        seen += [job["id"] for job in response.json()["data"]]
        link = response.headers.get("link")
        assert response.json()["has_more"] is (link is not None)
        url = link.split(">")[0].strip("<") if link else None
    assert sorted(seen, reverse=True) == seen
    assert set(seen) == set(created)
    assert api.client.get("/jobs?state=running").json()["data"] == []
    assert api.client.get("/jobs?limit=0").json()["errors"][0]["field"] == "limit"


def test_stored_files_are_removed_when_their_rows_cannot_be_written(api):
    with api.database.write() as session:
        session.execute(text("drop table job_events"))
    response = api.client.post("/jobs", data={"teacher": "digits"}, files={"images": ("a.zip", b"x")})
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert api.resources.storage.list_keys("datasets") == []
