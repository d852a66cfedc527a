"""A request's id, its line in the log, its place in the metrics."""

import logging
import re

import pytest
from sqlalchemy import text

from tests.api.rows import queued_job


def test_every_answer_has_a_request_id_also_an_error(api):
    first, second = api.client.get("/jobs"), api.client.get("/no/such/page")
    assert second.status_code == 404
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


def test_a_sane_id_of_the_client_is_kept(api):
    assert (
        api.client.get("/jobs", headers={"X-Request-ID": "trace-7.a_b"}).headers["X-Request-ID"]
        == "trace-7.a_b"
    )


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "<script>", "a;b"])
def test_anything_else_is_replaced(api, sent):
    got = api.client.get("/jobs", headers={"X-Request-ID": sent}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9A-Z]{26}", got)


def test_a_line_is_logged_for_a_request_with_status_and_milliseconds(api, caplog):
    with caplog.at_level(logging.INFO, logger="requests"):
        api.client.get("/jobs/job_1")
    (record,) = [record for record in caplog.records if record.name == "requests"]
    assert record.getMessage() == "GET /jobs/job_1"
    assert record.status == 404
    assert record.ms > 0


def test_requests_are_counted_by_route_and_not_by_id(api):
    for job in ("job_1", "job_2", "job_3"):
        api.client.get(f"/jobs/{job}")
    api.client.get("/no/such/page")
    text = api.client.get("/metrics").text
    assert 'wecolora_http_request_seconds_count{method="GET",route="/jobs/{job_id}",status="404"} 3.0' in text
    assert 'wecolora_http_request_seconds_count{method="GET",route="none",status="404"} 1.0' in text
    assert "job_1" not in text


def test_an_unexpected_error_s_answer_and_log_line_share_the_id(api, caplog):
    job = queued_job(api)
    with api.database.write() as session:
        session.execute(text("update jobs set teacher = 'damaged'"))
    answer = api.client.get(f"/jobs/{job}", headers={"X-Request-ID": "broken-1"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (500, "broken-1")
    assert any(record.getMessage().startswith(f"GET /jobs/{job} failed: ") for record in caplog.records)
