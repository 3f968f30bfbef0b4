"""Calls as OpenTelemetry spans."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from featurestore.config import load
from featurestore.serving.call_queue import Call
from featurestore.serving.observing import Observing
from featurestore.serving.rpc.tracing import Tracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALL = Call(
    ended_at=1_700_000_000_000_000_000,
    method="GetOnlineFeatures",
    service="churn@1",
    rows=2,
    code="OK",
    seconds=0.5,
    request_id="r-1",
    peer="ipv4:127.0.0.1:5",
    metadata=(("authorization", "Bearer secret"), ("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-bin", b"\xff")),
)


def spans(*calls: Call) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    assert tracing(calls) == 0
    tracing.close()
    return list(exporter.get_finished_spans())


def test_a_call_is_a_span_within_the_trace_of_its_caller() -> None:
    (span,) = spans(CALL)
    assert span.name == "featurestore.v1.ServingService/GetOnlineFeatures"
    assert span.kind is SpanKind.SERVER
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert (span.start_time, span.end_time) == (1_699_999_999_500_000_000, 1_700_000_000_000_000_000)
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "featurestore.v1.ServingService",
        "rpc.method": "GetOnlineFeatures",
        "rpc.grpc.status_code": 0,
        "featurestore.service": "churn@1",
        "featurestore.rows": 2,
    }
    assert span.resource.attributes["service.name"] == "featurestore-serve"
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01"])
def test_a_call_without_a_trace_begins_one(header: str) -> None:
    (span,) = spans(CALL._replace(metadata=(("traceparent", header),)))
    assert span.parent is None


def test_a_call_that_its_caller_does_not_trace_is_not_traced() -> None:
    assert spans(CALL._replace(metadata=(("traceparent", f"00-{TRACE}-{PARENT}-00"),))) == []


@pytest.mark.parametrize(
    ("code", "number", "status"),
    [("INVALID_ARGUMENT", 3, StatusCode.UNSET), ("NOT_FOUND", 5, StatusCode.UNSET), ("INTERNAL", 13, StatusCode.ERROR)],
)
def test_only_a_fault_of_the_server_is_an_error(code: str, number: int, status: StatusCode) -> None:
    (span,) = spans(CALL._replace(code=code, service="", rows=0))
    assert span.status.status_code is status
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == number
    assert "featurestore.service" not in span.attributes


class Collector(HTTPServer):
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[tuple[str, str, ExportTraceServiceRequest]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def spans(self) -> list[Span]:
        return [
            span
            for _, _, request in self.taken
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        token = self.headers.get("x-token", "")
        self.server.taken.append((self.path, token, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.shutdown()
    found.server_close()


def test_spans_go_where_the_standard_variables_say(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-features")
    tracing = Tracing()
    tracing([CALL])
    tracing.close()
    ((path, token, request),) = collector.taken
    assert (path, token) == ("/v1/traces", "abc")
    resource = {one.key: one.value.string_value for one in request.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "shop-features"
    (span,) = collector.spans()
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)


def test_a_collector_that_is_away_holds_up_the_end_of_a_server_for_seconds_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing = Tracing()
    tracing([CALL])
    started = time.monotonic()
    tracing.close()
    assert time.monotonic() - started < 5


def test_a_server_whose_extra_is_missing_names_it(tmp_path: Path) -> None:
    (tmp_path / "featurestore.toml").write_text("[serving]\ntracing = true\n")
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from featurestore.config import load\n"
        "from featurestore.errors import ConfigError\n"
        "from featurestore.serving.observing import Observing\n"
        "try:\n    Observing(load(sys.argv[1]), None)\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Tracing is on, and opentelemetry" in ran.stdout
    assert "pip install 'featurestore[tracing]'" in ran.stdout


def test_tracing_that_is_off_loads_nothing_of_it(tmp_path: Path) -> None:
    program = "import sys, featurestore.serving.workers; print([one for one in sys.modules if 'opentelemetry' in one])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
    (tmp_path / "featurestore.toml").write_text("")
    assert Observing(load(tmp_path), None).watcher is None
