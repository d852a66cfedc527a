"""What Prometheus is told, against rows made as workers make them."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from core import clock, leases
from core.models import Job
from core.settings import GIBIBYTE
from core.states import JobState, Phase
from tests.api.rows import finish, queued_job, running_job, uploaded_dataset
from tests.servers import run_api


def scrape(api) -> dict[tuple[str, ...], float]:
    """Values by name and label values."""
    answer = api.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.name.startswith("wecolora_http")
    }


def test_an_idle_service_says_nought_instead_of_nothing(api):
    found = scrape(api)
    assert found["wecolora_database_up",] == 1
    assert found["wecolora_queue_depth", "jobs"] == 0
    assert found["wecolora_queue_depth", "datasets"] == 0
    assert {state: found["wecolora_rows", "job", state] for state in JobState} == dict.fromkeys(JobState, 0)
    assert found["wecolora_lease_age_seconds", "job"] == 0
    assert found["wecolora_images_per_second",] == 0


def test_what_waits_is_counted_with_its_age_and_a_job_without_images_does_not_wait_for_a_worker(api):
    queued_job(api)
    queued_job(api, dataset_id=uploaded_dataset(api))
    time.sleep(0.3)
    found = scrape(api)
    assert found["wecolora_queue_depth", "jobs"] == 1
    assert found["wecolora_queue_depth", "datasets"] == 1
    assert found["wecolora_queue_oldest_seconds", "jobs"] >= 0.3
    assert found["wecolora_rows", "job", "queued"] == 2


def test_a_silent_worker_s_lease_grows_old(api):
    claim = running_job(api)
    with api.database.write() as session:
        session.execute(update(Job).where(Job.id == claim.id).values(heartbeat_at=clock.now_plus(-45)))
    found = scrape(api)
    assert found["wecolora_leases", "job"] == 1
    assert found["wecolora_lease_age_seconds", "job"] == pytest.approx(45, abs=5)


def test_running_jobs_add_up_to_a_speed_and_their_gpus_are_told_apart(api):
    for _ in range(2):
        claim = running_job(api)
        progress = {"images_per_second": 120.5, "gpu_memory_bytes": 7 << 30}
        with api.database.write() as session:
            leases.set_phase(session, claim, Phase.DISTILLING)
            leases.record_progress(session, claim, progress)
            session.execute(update(Job).where(Job.id == claim.id).values(worker_id=f"gpu-{claim.id}"))
    found = scrape(api)
    assert found["wecolora_images_per_second",] == 241
    assert found["wecolora_jobs_in_phase", "distilling"] == 2
    assert found["wecolora_gpu_memory_bytes", f"gpu-{claim.id}"] == 7 << 30
    assert sum(name[0] == "wecolora_gpu_memory_bytes" for name in found) == 2


def test_phases_of_jobs_that_ended_are_timed(api):
    claim = running_job(api)
    with api.database.write() as session:
        leases.set_phase(session, claim, Phase.PREPARING)
    time.sleep(0.4)
    with api.database.write() as session:
        leases.set_phase(session, claim, Phase.DISTILLING)
    assert ("wecolora_last_hour_phase_seconds_sum", "preparing") not in scrape(api), "the job still runs"
    finish(api, claim)
    found = scrape(api)
    assert found["wecolora_last_hour_phase_seconds_sum", "preparing"] >= 0.4
    assert found["wecolora_last_hour_phase_seconds_count", "preparing"] == 1
    assert found["wecolora_last_hour_phase_seconds_count", "distilling"] == 1


def test_several_processes_give_the_same_answer(api):
    claim = running_job(api)
    queued_job(api)
    with run_api(api.settings) as other:
        of_one, of_other = scrape(api), scrape(other)
    ages = ("wecolora_queue_oldest_seconds", "wecolora_lease_age_seconds")
    assert claim
    assert {k: v for k, v in of_one.items() if k[0] not in ages} == {
        k: v for k, v in of_other.items() if k[0] not in ages
    }


def test_a_large_job_waits_in_the_queue_of_its_size(api):
    job_id = queued_job(api)
    with api.database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(device_bytes=30 * GIBIBYTE))
    found = scrape(api)
    assert (found["wecolora_queue_depth", "jobs-24g"], found["wecolora_queue_depth", "jobs"]) == (1, 0)


def test_a_database_that_is_away_is_a_metric_and_no_error(api):
    api.database.close()
    file = api.settings.data_dir / "wecolora.db"
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    found = scrape(api)
    assert found["wecolora_database_up",] == 0
    assert ("wecolora_queue_depth", "jobs") not in found
