"""What a log line looks like, to a person and to a machine."""

import json
import logging
import threading

import pytest

from core.logs import log_context, make_formatter
from core.settings import Settings


def format_one(is_json: bool, message: str = "%s ended with %d", args=("trainer", 3), exc_info=None) -> str:
    record = logging.LogRecord("worker.jobs", logging.WARNING, __file__, 1, message, args, exc_info)
    return make_formatter(is_json=is_json).format(record)


def test_a_line_to_read_ends_with_what_is_worked_on():
    with log_context(job_id="job_1", attempt=2):
        line = format_one(is_json=False)
    assert line.endswith(" WARNING worker.jobs: trainer ended with 3 [attempt=2 job_id=job_1]")
    assert format_one(is_json=False).endswith("trainer ended with 3")


def test_a_json_line_begins_with_time_level_and_message():
    with log_context(job_id="job_1", attempt=2):
        line = json.loads(format_one(is_json=True))
    assert list(line)[:4] == ["timestamp", "level", "logger", "message"]
    assert line["timestamp"].endswith("Z")
    assert {**line, "timestamp": None} == {
        "timestamp": None, "level": "warning", "logger": "worker.jobs", "message": "trainer ended with 3",
        "job_id": "job_1", "attempt": 2,
    }  # fmt: skip


@pytest.mark.parametrize("is_json", [True, False])
def test_a_traceback_is_kept_and_a_json_record_stays_on_one_line(is_json):
    try:
        raise ValueError("of the test")
    except ValueError as error:
        text = format_one(is_json, "failed", (), (ValueError, error, error.__traceback__))
    assert "ValueError: of the test" in text
    assert ("\n" in text) is not is_json


def test_a_context_belongs_to_its_thread():
    seen = []
    with log_context(job_id="job_1"):
        thread = threading.Thread(target=lambda: seen.append(format_one(is_json=False)))
        thread.start()
        thread.join()
    assert "job_1" not in seen[0]


@pytest.mark.parametrize(
    ("profile", "format_", "is_json"),
    [
        ("embedded", "auto", False),
        ("production", "auto", True),
        ("embedded", "json", True),
        ("production", "text", False),
    ],
)
def test_production_logs_json_unless_told_otherwise(profile, format_, is_json):
    assert Settings(profile=profile, log_format=format_).logs_json is is_json
