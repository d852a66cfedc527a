"""Events as JSON pages and as a stream."""

import contextlib
import json
import threading
import time

import pytest
from sqlalchemy import event, text, update

from api.jobs import watch
from core import clock
from core.leases import NewEvent, record_progress
from core.models import Job
from core.states import EventType
from tests.api.rows import finish, queued_job, running_job
from tests.servers import run_api, wait_until

STREAM = {"Accept": "text/event-stream"}


def add_metrics(api, claim, count):
    for step in range(count):
        event = NewEvent(EventType.METRIC, f"step {step}", {"step": step, "loss": 1 / (step + 1)})
        with api.database.write() as session:
            record_progress(session, claim, {"step": step}, [event])


def read_stream(api, job_id, last_event_id=None, at_most=None):
    """The stream's events as (id, type, data), until it ends or `at_most` have come."""
    headers = STREAM if last_event_id is None else {**STREAM, "Last-Event-ID": str(last_event_id)}
    found, current = [], {}
    with api.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if not line:
                if "id" in current:
                    found.append((int(current["id"]), current["event"], json.loads(current["data"])))
                    if len(found) == at_most:
                        return found
                current = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                current[name] = value
    return found


def test_pages_of_events_have_no_gap_and_no_repeat(api):
    claim = running_job(api)
    add_metrics(api, claim, 10)
    seen, has_more = [], True
    while has_more:
        after = seen[-1]["seq"] if seen else 0
        page = api.client.get(f"/jobs/{claim.id}/events", params={"after": after, "limit": 4}).json()
        seen += page["data"]
        has_more = page["has_more"]
    assert [event["seq"] for event in seen] == list(range(1, 14))
    assert seen[0]["data"] == {"state": "queued"}
    assert seen[-1]["data"]["step"] == 9


def test_a_stream_follows_the_job_to_its_end(api):
    claim = running_job(api)
    worker = threading.Thread(target=lambda: (add_metrics(api, claim, 20), finish(api, claim)))
    worker.start()
    events = read_stream(api, claim.id)
    worker.join()
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [kind for _, kind, _ in events].count("metric") == 20
    assert events[-1][1:] == ("state", events[-1][2])
    assert events[-1][2]["data"] == {"state": "succeeded"}


def test_a_stream_that_reconnects_goes_on_where_it_was(api):
    claim = running_job(api)
    add_metrics(api, claim, 10)
    first = read_stream(api, claim.id, at_most=5)
    add_metrics(api, claim, 5)
    finish(api, claim)
    rest = read_stream(api, claim.id, last_event_id=first[-1][0])
    numbers = [number for number, _, _ in first + rest]
    assert numbers == list(range(1, len(numbers) + 1))
    assert rest[-1][2]["data"] == {"state": "succeeded"}


def test_a_stream_that_was_read_to_its_end_is_not_reopened(api):
    claim = running_job(api)
    finish(api, claim)
    last = read_stream(api, claim.id)[-1][0]
    headers = {**STREAM, "Last-Event-ID": str(last)}
    assert api.client.get(f"/jobs/{claim.id}/events", headers=headers).status_code == 204


def test_a_cancelled_job_ends_its_stream(api):
    job_id = queued_job(api)
    api.client.post(f"/jobs/{job_id}/cancel")
    assert read_stream(api, job_id)[-1][2]["data"] == {"state": "cancelled"}


def test_an_idle_stream_sends_comments(make_settings):
    with run_api(make_settings(event_keepalive_seconds=0.1)) as api:
        job_id = queued_job(api)
        with api.client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM) as response:
            assert any(line.startswith(":") for line in response.iter_lines())


def test_a_reader_that_leaves_releases_everything(api):
    job_id = queued_job(api)
    for _ in range(60):
        with api.client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM) as response:
            next(response.iter_lines())
    pool = api.database.engine.pool
    wait_until(lambda: pool.checkedout() == 0, seconds=5)
    # Writers are not kept waiting by readers that stay either.
    with api.client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM):
        assert api.client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"


def test_many_readers_cost_the_database_as_much_as_one(make_settings):
    with run_api(make_settings(event_poll_seconds=0.05)) as api:
        job_id = queued_job(api)
        statements = []
        event.listen(api.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

        def asked_in_a_second():
            start = len(statements)
            time.sleep(1)
            return len(statements) - start

        with contextlib.ExitStack() as opened:

            def open_stream():
                url = f"/jobs/{job_id}/events"
                response = opened.enter_context(api.client.stream("GET", url, headers=STREAM))
                lines = response.iter_lines()
                assert next(line for line in lines if line.startswith("id:")) == "id: 1"
                return lines

            readers = [open_stream()]
            alone = asked_in_a_second()
            readers += [open_stream() for _ in range(40)]
            together = asked_in_a_second()
            assert alone > 5
            assert together < 2 * alone
            api.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
            for lines in readers:
                assert [line for line in lines if line.startswith("id:")] == ["id: 2"]


def test_a_reader_far_behind_and_one_that_is_there_get_the_same_events(make_settings):
    with run_api(make_settings(event_poll_seconds=0.2)) as api:
        claim = running_job(api)
        found = {}

        def read(name, last_event_id):
            found[name] = read_stream(api, claim.id, last_event_id)

        readers = [threading.Thread(target=read, args=each) for each in (("all", None), ("late", 2))]
        for reader in readers:
            reader.start()
        # More than a look takes at once.
        events = [NewEvent(EventType.METRIC, f"step {step}", {"step": step}) for step in range(450)]
        with api.database.write() as session:
            record_progress(session, claim, {"step": 450}, events)
        finish(api, claim)
        for reader in readers:
            reader.join()
        assert [number for number, _, _ in found["all"]] == list(range(1, len(found["all"]) + 1))
        assert found["late"] == found["all"][2:]
        assert len(found["all"]) > 450


def test_a_stream_of_a_job_that_is_deleted_ends(api):
    job_id = queued_job(api)
    with api.client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM) as response:
        lines = response.iter_lines()
        assert any(line == "id: 1" for line in lines)
        with api.database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(deleted_at=clock.now()))
        assert not any(line.startswith("id:") for line in lines), "it ends without another one"


def test_streams_end_when_the_database_cannot_be_read_so_that_readers_come_again(api):
    job_id = queued_job(api)
    with api.client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM) as response:
        lines = response.iter_lines()
        assert any(line == "id: 1" for line in lines)
        with api.database.engine.begin() as connection:
            connection.execute(text("alter table jobs rename to jobs_away"))
        assert not any(line.startswith("id:") for line in lines)
        with api.database.engine.begin() as connection:
            connection.execute(text("alter table jobs_away rename to jobs"))
    api.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    assert [number for number, _, _ in read_stream(api, job_id, last_event_id=1)] == [2]


def test_streams_end_when_the_look_for_events_fails_by_a_fault_of_ours(api, monkeypatch):
    job_id = queued_job(api)
    with api.client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM) as response:
        lines = response.iter_lines()
        assert any(line == "id: 1" for line in lines)
        monkeypatch.setattr(watch, "list_event_counts", lambda *_: 1 / 0)
        assert not any(line.startswith("id:") for line in lines)


@pytest.mark.parametrize("headers", [{}, STREAM])
def test_events_of_no_job_are_404(api, headers):
    response = api.client.get("/jobs/job_unknown/events", headers=headers)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_number_beyond_every_event_is_refused(api):
    response = api.client.get(f"/jobs/{queued_job(api)}/events?after={10**30}")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "after")


def test_a_last_event_id_that_is_no_number_is_refused(api):
    job_id = queued_job(api)
    response = api.client.get(f"/jobs/{job_id}/events", headers={**STREAM, "Last-Event-ID": "x"})
    assert response.json()["errors"][0]["field"] == "last-event-id"
