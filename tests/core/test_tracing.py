"""Spans arrive at a real collector over HTTP, from a request and from a worker's attempt."""

import gzip
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.settings import Settings, to_environment

PROGRAM = """
from core.settings import get_settings
from core.tracing import attempt_span, note, start_tracing
stop = start_tracing(get_settings(), "worker")
with attempt_span("job", "job_1", 2):
    note("phase", phase="distilling")
stop()
"""
REQUEST = """
from fastapi.testclient import TestClient
from api.main import app
with TestClient(app, base_url="http://localhost") as client:
    client.get("/jobs/job_1", headers={"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"})
    client.get("/healthz")
"""


@pytest.fixture
def collector():
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def spans(received):
    found = {}
    for path, request in received:
        assert path == "/v1/traces"
        for resource in request.resource_spans:
            service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                found |= {span.name: (service, span) for span in scope.spans}
    return found


def run(code, settings):
    done = subprocess.run(
        [sys.executable, "-c", code], env=to_environment(settings), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_an_attempt_is_a_span_with_the_job_and_its_phases(collector, tmp_path):
    url, received = collector
    run(PROGRAM, Settings(data_dir=tmp_path, otlp_endpoint=url))
    service, span = spans(received)["job attempt"]
    assert service == "wecolora-worker"
    attributes = {attribute.key: attribute.value for attribute in span.attributes}
    assert attributes["job.id"].string_value == "job_1"
    assert attributes["job.attempt"].int_value == 2
    (event,) = span.events
    assert (event.name, event.attributes[0].value.string_value) == ("phase", "distilling")


def test_a_request_joins_its_caller_s_trace_and_probes_make_none(collector, tmp_path):
    url, received = collector
    subprocess.run(
        [sys.executable, "-m", "core.migrate"], env=to_environment(Settings(data_dir=tmp_path)), check=True
    )
    run(REQUEST, Settings(data_dir=tmp_path, otlp_endpoint=url))
    found = spans(received)
    service, span = found["GET /jobs/{job_id}"]
    assert service == "wecolora-api"
    assert span.trace_id.hex() == "ab" * 16
    assert not any("healthz" in name for name in found)


def test_without_a_collector_the_sdk_is_not_even_loaded(tmp_path):
    code = PROGRAM + "import sys; assert 'opentelemetry.sdk' not in sys.modules"
    run(code, Settings(data_dir=tmp_path))


def test_a_collector_without_the_sdk_ends_the_start_with_the_way_out(tmp_path):
    code = "import sys; sys.modules['opentelemetry.sdk.trace'] = None\n" + PROGRAM
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=to_environment(Settings(data_dir=tmp_path, otlp_endpoint="http://127.0.0.1:1")),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "pip install 'wecolora[service,tracing]'" in ended.stderr
