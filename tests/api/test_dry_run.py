"""`POST /jobs?dry_run=true`: what a job would come to, with nothing stored."""

import pytest
from sqlalchemy import update

from core.leases import claim_job, succeed
from core.models import Dataset
from tests.api.rows import count_rows, queued_job, ready_dataset, uploaded_dataset
from tests.servers import run_api

VIT = "vit_base_patch16_224"


@pytest.fixture
def service(make_settings):
    """With the catalogue that the service comes with."""
    with run_api(make_settings(teacher_catalogue=None)) as running:
        yield running


def ask(api, **body):
    response = api.client.post("/jobs", params={"dry_run": "true"}, json={"teacher": VIT, **body})
    assert response.status_code == 200, response.text
    return response.json()


def finish(api, **result):
    """A job that a worker has finished, with what it measured."""
    job_id = queued_job(api, recipe="paper")
    with api.database.write() as session:
        claim = claim_job(session, job_id, "worker-1", 30)
        succeed(session, claim, result, [])


def test_the_student_is_known_before_there_is_a_dataset(service):
    before = count_rows(service)
    found = ask(service, r=2, k=128, recipe="paper")
    assert found["student_network"] == {
        "depth": 6,
        "blocks": [1, 3, 5, 7, 9, 11],
        "blocks_are_final": True,
        "parameters": 44_040_424,
        "trainable_parameters": 10_616_832,
        "gmacs": pytest.approx(8.84, abs=0.005),
        "size_bytes": 4 * 44_040_424,
    }
    teacher = found["teacher_network"]
    assert (teacher["depth"], teacher["parameters"]) == (12, 86_567_656)
    assert teacher["gmacs"] == pytest.approx(17.56, abs=0.005)
    assert (found["r"], found["k"], found["options"]["epochs"], found["given"]["recipe"]) == (
        2,
        128,
        10,
        "paper",
    )
    numbers = ("images", "batch_size", "steps", "duration")
    assert all(found[name] is None for name in numbers)
    assert found["unknown"] == dict.fromkeys(numbers, "no dataset is named")
    assert count_rows(service) == before


def test_steps_are_those_of_the_dataset(service):
    dataset_id = ready_dataset(service)
    before = count_rows(service)
    found = ask(service, dataset_id=dataset_id, recipe="paper", batch_size=4, few_shot_ratio=0.9)
    assert (found["images"], found["batch_size"], found["steps"]) == (9, 4, 30)
    assert found["unknown"] == {"duration": "no job has finished on this kind of device yet"}
    assert count_rows(service) == before


def test_a_dataset_that_is_still_read_leaves_its_numbers_open(service):
    found = ask(service, dataset_id=uploaded_dataset(service))
    assert found["steps"] is None
    assert found["unknown"]["steps"] == "the images are still being read"


def test_the_time_is_that_of_finished_jobs_on_the_same_device(service):
    dataset_id = ready_dataset(service)
    body = {"dataset_id": dataset_id, "recipe": "paper"}
    work = 10 * 10 * (3 * ask(service, **body)["student_network"]["gmacs"] + 17.563)
    machine = {"device": "cpu", "device_name": "Fast processor, 2 threads"}
    finish(service, device="cuda", device_name="A GPU", work_gmacs=1.0, seconds=1000.0)
    finish(service, **machine, work_gmacs=work / 2, seconds=30.0)
    finish(service, **machine, work_gmacs=work * 2, seconds=90.0)
    finish(service, **machine, work_gmacs=None, seconds=1.0)  # resumed: it did only the rest of its work
    for device in ("auto", "cpu"):
        duration = ask(service, **body, device=device)["duration"]
        assert duration == {
            "seconds": pytest.approx(50.0, abs=0.2),
            "device_name": machine["device_name"],
            "jobs": 2,
        }
    assert ask(service, **body, device="cuda")["duration"]["device_name"] == "A GPU"
    in_bf16 = ask(service, **body, precision="bf16")
    assert in_bf16["duration"] is None
    assert in_bf16["unknown"]["duration"].startswith("no job has finished on Fast processor")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"method": "deit"}, "student_network.gmacs"),
        ({"method": "kd"}, "student_network.trainable_parameters"),
    ],
)
def test_what_cannot_be_known_is_null_and_says_why(service, options, field):
    found = ask(service, **options)
    part, name = field.split(".")
    assert found[part][name] is None
    assert found["unknown"][field]
    assert found[part]["depth"] == 6
    nulls = {f"{part}.{name}" for part in ("teacher_network", "student_network") for name in found[part]
             if found[part][name] is None}  # fmt: skip
    assert nulls == {name for name in found["unknown"] if "." in name}


def test_blocks_that_the_images_decide_are_not_final(service):
    searched, fixed = (ask(service, policy=policy)["student_network"] for policy in ("measured", "both-ends"))
    assert (searched["blocks_are_final"], fixed["blocks_are_final"]) == (False, True)
    assert searched["blocks"] == [1, 3, 5, 7, 9, 11]
    assert searched["depth"] == fixed["depth"] == 6


def test_an_architecture_without_counts_says_so(api):
    found = ask(api, teacher="digits", policy="both-ends")
    assert found["student_network"]["blocks"] == [0, 2, 4, 7, 9, 11]
    assert found["student_network"]["parameters"] is None
    assert found["unknown"]["teacher_network.gmacs"] == "the catalogue has no counts of vit_test_patch4_32"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"r": 13}, "r"),
        ({"teacher": "vit_bsae_patch16_224"}, "teacher"),
        ({"epochs": 4, "warmup_epochs": 4}, "warmup_epochs"),
        ({"dataset_id": "ds_nowhere"}, "dataset_id"),
        ({"probe": {"dataset_id": "ds_nowhere"}}, "probe.dataset_id"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_it_refuses_what_the_job_would_be_refused_for(service, body, field):
    response = service.client.post("/jobs", params={"dry_run": "true"}, json={"teacher": VIT, **body})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_a_quota_counts(make_settings):
    with run_api(make_settings(quota_queued_jobs=1)) as api:
        queued_job(api)
        response = api.client.post("/jobs", params={"dry_run": "true"}, json={"teacher": "digits"})
        assert (response.status_code, response.json()["code"]) == (429, "too_many_jobs")


def test_a_form_cannot_be_tried(service):
    response = service.client.post("/jobs", params={"dry_run": "true"}, data={"teacher": VIT})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_a_failed_dataset_is_refused(service):
    dataset_id = ready_dataset(service)
    with service.database.write() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(state="failed"))
    response = service.client.post(
        "/jobs", params={"dry_run": "true"}, json={"teacher": VIT, "dataset_id": dataset_id}
    )
    assert response.json()["errors"][0]["allowed"] == "a dataset that is ready or ingesting"
