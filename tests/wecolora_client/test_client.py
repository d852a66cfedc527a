"""The client against the real API on a real socket, with the network as bad as it gets."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import migrate
from core.database import Database
from core.settings import Settings
from tests.api.keys import make_key
from tests.api.rows import CONTENT, finish, running_job
from tests.relay import Relay, relay_to
from tests.servers import Api, free_port, run_api
from tests.wecolora_client.folders import write_folder
from wecolora_client import (
    Client,
    ClientError,
    DamagedDownload,
    JobFailed,
    ServiceError,
    Unreachable,
    UploadProgress,
    models,
)

TEACHER = "sample-digits"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(settings)
    migrate.upgrade(database.engine)
    database.close()
    return settings


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with run_api(settings) as running:
        yield running


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(api.url, patience_seconds=5) as running:
        yield running


@pytest.fixture
def relay(api: Api) -> Iterator[Relay]:
    with relay_to(api.url) as running:
        yield running


def parts_of(api: Api, dataset_id: str) -> list[dict]:
    return api.client.get(f"/datasets/{dataset_id}/parts").json()["data"]


def queued(client: Client, folder: Path) -> models.Job:
    dataset_id = client.upload(write_folder(folder, files=2))
    return client.create_job(teacher=TEACHER, dataset_id=dataset_id, r=2, k=16)


def test_a_folder_becomes_a_dataset_that_waits_to_be_read_in(
    api: Api, client: Client, tmp_path: Path
) -> None:
    told: list[UploadProgress] = []
    folder = write_folder(tmp_path / "images", files=5)
    dataset = client.get_dataset(client.upload(folder, "five files", on_progress=told.append))
    assert (dataset.name, dataset.state) == ("five files", "ingesting")
    (part,) = parts_of(api, dataset.id)
    assert (part["number"], part["filename"]) == (1, "1.tar")
    assert told[-1] == UploadProgress(parts_done=1, parts=1, bytes_done=500, size_bytes=500)


def test_many_parts_arrive_whole_however_many_go_at_a_time(api: Api, client: Client, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", files=40, size_bytes=1000)
    told: list[UploadProgress] = []
    dataset_id = client.upload(folder, parallel=8, part_bytes=3000, on_progress=told.append)
    assert [part["number"] for part in parts_of(api, dataset_id)] == list(range(1, 15))
    assert [each.parts_done for each in told] == sorted(each.parts_done for each in told)
    assert told[-1].bytes_done == told[-1].size_bytes == 40_000


def test_a_connection_that_breaks_while_a_part_is_sent_costs_nothing_but_time(
    api: Api, relay: Relay, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "images", files=4, size_bytes=200_000)
    relay.cut_sent = 300_000
    with Client(relay.url, patience_seconds=20) as client:
        dataset_id = client.upload(folder)
    assert relay.cut_sent is None, "the connection was not cut"
    (part,) = parts_of(api, dataset_id)
    assert part["size_bytes"] > 800_000


def test_an_upload_that_was_broken_off_goes_on_with_what_is_missing(
    api: Api, relay: Relay, client: Client, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "images", files=2, size_bytes=9_000_000)  # a part each
    begun: list[str] = []

    def stop_after_one_part(progress: UploadProgress) -> None:
        if progress.parts_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload(folder, parallel=1, on_progress=stop_after_one_part, on_created=begun.append)
    assert [part["number"] for part in parts_of(api, begun[0])] == [1]
    with Client(relay.url) as again:
        assert again.upload(folder, into=begun[0]) == begun[0]
    assert 9_000_000 < relay.sent < 10_000_000, "the part that had arrived was sent again"
    assert [part["number"] for part in parts_of(api, begun[0])] == [1, 2]
    assert client.get_dataset(begun[0]).state == "ingesting"


def test_a_file_that_changed_meanwhile_is_sent_again(api: Api, client: Client, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", files=2)
    dataset_id = api.client.post("/datasets", json={"name": "x"}).json()["id"]
    api.client.put(f"/datasets/{dataset_id}/parts/1", params={"filename": "1.tar"}, content=b"older")
    client.upload(folder, into=dataset_id)
    (part,) = parts_of(api, dataset_id)
    assert part["sha256"] != hashlib.sha256(b"older").hexdigest()


def test_a_job_whose_answer_is_lost_is_made_once(
    api: Api, relay: Relay, client: Client, tmp_path: Path
) -> None:
    dataset_id = client.upload(write_folder(tmp_path / "images", files=2))
    with Client(relay.url, patience_seconds=20) as unlucky:
        unlucky.get_dataset(dataset_id)
        relay.cut_received = relay.received + 10  # the next answer breaks off
        job = unlucky.create_job(teacher=TEACHER, dataset_id=dataset_id, r=2, k=16)
    assert relay.cut_received is None, "the connection was not cut"
    assert [each["id"] for each in api.client.get("/jobs").json()["data"]] == [job.id]


def test_a_refused_job_raises_the_services_own_words_with_field_and_range(
    client: Client, tmp_path: Path
) -> None:
    dataset_id = client.upload(write_folder(tmp_path / "images", files=2))
    with pytest.raises(ServiceError, match=r"r: .*12") as refused:
        client.create_job(teacher=TEACHER, dataset_id=dataset_id, r=13, k=16)
    assert refused.value.problem.code == "invalid_request"
    assert refused.value.problem.errors[0].field == "r"
    with pytest.raises(ServiceError, match="k: "):
        client.create_job(teacher=TEACHER, dataset_id=dataset_id, r=2, k=4000)


def test_what_a_job_would_come_to_is_known_before_anything_is_uploaded(api: Api, client: Client) -> None:
    plan = client.dry_run(teacher=TEACHER, r=3, k=16)
    assert (plan.teacher_network.depth, plan.student_network.depth) == (12, 4)
    assert plan.student_network.parameters < plan.teacher_network.parameters == 472_818
    assert (plan.steps, "steps" in plan.unknown) == (None, True)
    with pytest.raises(ServiceError, match="r: "):
        client.dry_run(teacher=TEACHER, r=13)
    assert api.client.get("/jobs").json()["data"] == []


def test_following_a_job_yields_every_event_once_also_when_the_connection_breaks(
    api: Api, relay: Relay, client: Client, tmp_path: Path
) -> None:
    job = queued(client, tmp_path / "images")
    threading.Timer(0.6, relay.cut).start()
    threading.Timer(1.2, lambda: client.cancel(job.id)).start()
    with Client(relay.url) as follower:
        events = list(follower.follow(job.id))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].data["state"] == "cancelled"
    assert client.get_job(job.id).has_ended


def test_a_job_that_did_not_succeed_is_an_error_for_who_waits_for_it(client: Client, tmp_path: Path) -> None:
    job = queued(client, tmp_path / "images")
    client.cancel(job.id)
    with pytest.raises(JobFailed, match="cancelled"):
        client.wait_for_job(job.id)


def test_a_cancelled_job_can_be_tried_again_and_what_is_deleted_is_gone(
    client: Client, tmp_path: Path
) -> None:
    job = queued(client, tmp_path / "images")
    client.cancel(job.id)
    assert client.retry(job.id).state == "queued"
    with pytest.raises(ServiceError) as refused:
        client.retry(job.id)
    assert refused.value.problem.code == "wrong_state"
    with pytest.raises(ServiceError) as needed:
        client.delete_dataset(job.dataset_id)
    assert needed.value.problem.status == 409
    client.cancel(job.id)
    client.delete_job(job.id)
    with pytest.raises(ServiceError) as gone:
        client.get_job(job.id)
    assert gone.value.problem.status == 404


def test_a_file_that_a_job_does_not_have_is_named(client: Client, tmp_path: Path) -> None:
    job = queued(client, tmp_path / "images")
    with pytest.raises(ClientError, match=r"no file student\.zip"):
        client.download(job.id, "student.zip", tmp_path / "student.zip")


def test_a_download_that_breaks_goes_on_where_it_was(
    api: Api, relay: Relay, client: Client, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 16_000  # 4 MB
    claim = running_job(api)
    finish(api, claim, content=content)
    relay.cut_received = 2_000_000
    with Client(relay.url, patience_seconds=20) as slow:
        file = slow.download(claim.id, "student.safetensors", tmp_path / "student.safetensors")
    assert file.read_bytes() == content
    assert relay.cut_received is None, "the connection was not cut"
    assert relay.received < 1.2 * len(content), "the whole file was sent twice"
    assert list(tmp_path.glob("*.part")) == list(tmp_path.glob(".*.part")) == []


def test_a_file_that_arrives_damaged_is_not_delivered(api: Api, client: Client, tmp_path: Path) -> None:
    claim = running_job(api)
    finish(api, claim)
    key = f"jobs/{claim.id}/attempts/{claim.attempt}/student.safetensors"
    api.resources.storage.put_bytes(key, b"x" * len(CONTENT))
    with pytest.raises(DamagedDownload):
        client.download(claim.id, "student.safetensors", tmp_path / "student.safetensors")
    assert not (tmp_path / "student.safetensors").exists()


def test_a_folder_that_holds_something_is_not_overwritten(client: Client, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "thesis.txt").write_text("precious")
    with pytest.raises(ClientError, match="not empty"):
        client.download_student("job_1", tmp_path / "student")
    assert (tmp_path / "student" / "thesis.txt").read_text() == "precious"


def test_a_service_that_is_not_there_is_not_ready_and_patience_ends() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, patience_seconds=0.5) as client:
        assert not client.is_ready()
        with pytest.raises(Unreachable, match=url):
            client.get_job("job_1")


def test_a_service_that_asks_for_a_key_gets_it(settings: Settings) -> None:
    keyed = settings.model_copy(update={"auth": "keys"})
    with run_api(keyed) as api:
        with Client(api.url) as stranger, pytest.raises(ServiceError) as refused:
            stranger.get_job("job_1")
        assert refused.value.problem.status == 401
        _, key = make_key(api, "vision-lab")
        with Client(api.url, key) as client, pytest.raises(ServiceError) as unknown:
            client.get_job("job_1")
        assert unknown.value.problem.status == 404


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        (models.Dataset, "DatasetOut"),
        (models.Job, "JobOut"),
        (models.DryRun, "DryRun"),
        (models.Network, "NetworkOut"),
        (models.Event, "EventOut"),
        (models.Artifact, "ArtifactOut"),
        (models.Part, "PartOut"),
        (models.Failure, "ErrorOut"),
    ],
)
def test_every_field_of_the_clients_answers_is_one_that_the_service_gives(
    api: Api, model: type[models.Answer], schema: str
) -> None:
    described = api.client.get("/openapi.json").json()["components"]["schemas"][schema]
    assert set(model.model_fields) <= set(described["properties"])
