"""The API dies under a request, messages come twice, streams break, and users change their mind at the worst moment."""

import contextlib
import signal
import threading
import time

import httpx2
import pytest

from core.broker import make_celery, send_run_job
from core.settings import Settings
from tests.e2e.service import TERMINAL, wait_for
from tests.faults.cluster import Cluster
from tests.faults.conftest import Strike
from tests.faults.ledger import JOB
from tests.relay import relay_to

pytestmark = pytest.mark.timeout(900)


def test_the_api_is_killed_between_the_row_and_the_message(
    cluster: Cluster, strike: Strike, images: str
) -> None:
    fault = strike("SIGKILL of the API between commit and message")
    api, key = cluster["api"], {"Idempotency-Key": "made-once-and-for-all"}
    body = {**JOB, "dataset_id": images, "name": "made once"}

    def create() -> None:
        with contextlib.suppress(httpx2.TransportError):  # the answer is lost with the API, or not
            cluster.http.post("/jobs", json=body, headers=key)

    with api.broker.silent():
        request = threading.Thread(target=create)
        request.start()
        try:
            job_id = wait_for(lambda: cluster.named("made once"))[0]
            fault.times += 1
            started = time.monotonic()
        finally:
            api.stop(signal.SIGKILL)
            request.join()
            api.start()
    fault.jobs[job_id] = "succeeded"
    cluster.wait_until_ready()
    assert cluster.post("/jobs", json=body, headers=key)["id"] == job_id, "asked again, it is the same job"
    cluster.wait_for_step(job_id, 1)
    fault.seconds.append(time.monotonic() - started)
    assert cluster.named("made once") == [job_id]


def test_a_message_comes_many_times(cluster: Cluster, strike: Strike) -> None:
    fault = strike("a job's message comes 20 times, to two workers")
    redis = cluster.servers.redis
    celery = make_celery(Settings(broker_url=redis.url))
    job_id = fault.start()
    for _ in range(20):
        fault.times += 1
        assert send_run_job(celery, job_id, None)
    assert cluster.wait_for_end(job_id)["attempt"] == 1
    celery.close()


def test_an_event_stream_breaks(cluster: Cluster, strike: Strike) -> None:
    fault = strike("the event stream breaks")
    job_id = fault.start()
    heard: list[int] = []
    with (
        relay_to(str(cluster.http.base_url)) as relay,
        httpx2.Client(base_url=relay.url, timeout=30) as client,
    ):
        while cluster.job(job_id)["state"] not in TERMINAL or heard[-1:] != [
            cluster.events(job_id)[-1]["seq"]
        ]:
            headers = {"Last-Event-ID": str(heard[-1])} if heard else {}
            relay.cut_received = relay.received + 3000 + 1000 * fault.times
            try:
                with client.stream(
                    "GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream", **headers}
                ) as stream:
                    heard += [int(line[4:]) for line in stream.iter_lines() if line.startswith("id: ")]
            except httpx2.TransportError:
                fault.times += 1
    assert fault.times > 2
    assert heard == [event["seq"] for event in cluster.events(job_id)], "no gap and no repeat"


def test_a_job_is_cancelled_at_any_moment(cluster: Cluster, strike: Strike) -> None:
    fault = strike("cancel: queued, fetching, training, delivering; each twice at once")
    for phase in (None, "fetching", "distilling", "publishing"):
        job_id = fault.start(recipe="instant", epochs=None) if phase == "publishing" else fault.start()
        wait_for(
            lambda job_id=job_id, phase=phase: phase is None or cluster.job(job_id)["phase"] in (phase, None),
            240,
            0.01,
        )
        requests = [
            threading.Thread(target=cluster.http.post, args=(f"/jobs/{job_id}/cancel",)) for _ in range(2)
        ]
        for request in requests:
            request.start()
        for request in requests:
            request.join()
        fault.times += 1
        state = cluster.wait_for_end(job_id)["state"]
        assert state in ("cancelled", "succeeded")
        fault.jobs[job_id] = state
