"""Calls as OpenTelemetry spans; the home of its libraries, which the extra ``tracing`` brings.

A span is made when its call has ended, in a thread, with the instants of its beginning and end. So tracing that is off
costs nothing, and tracing that is on costs a call no more than being put into a queue. Where spans go, which of them,
and the resource's name follow OpenTelemetry's own environment variables, ``OTEL_...``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc

from featurestore.errors import ConfigError
from featurestore.serving.call_queue import Call

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_SERVICE = "featurestore.v1.ServingService"
_SERVICE_NAME = "featurestore-serve"
_NANOSECONDS = 1_000_000_000
#: How long a server that ends waits for a receiver of spans that does not answer.
_CLOSE_SECONDS = 3.0
#: Statuses that are faults of the server, by OpenTelemetry's conventions for gRPC.
_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


class Tracing:
    """A :data:`~featurestore.serving.call_queue.Sink` that makes a span of each call.

    Args:
        exporter: takes the spans; by OTLP over HTTP when not given.

    Raises:
        ConfigError: the extra ``tracing`` is not installed.
    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        try:
            from opentelemetry import propagate, trace
        except ImportError as error:
            raise _missing(error) from None
        self._extract = propagate.extract
        self._kind = trace.SpanKind.SERVER
        self._failed = trace.Status(trace.StatusCode.ERROR)
        self._provider = _provider(exporter)
        self._tracer = self._provider.get_tracer("featurestore")

    def __call__(self, calls: Sequence[Call]) -> int:
        """Make a span of each call; none is lost here."""
        for call in calls:
            self._trace(call)
        return 0

    def close(self) -> None:
        """Send what waits; a receiver that does not answer is not waited for."""
        thread = threading.Thread(target=self._provider.shutdown, name="tracing-shutdown", daemon=True)
        thread.start()
        thread.join(_CLOSE_SECONDS)

    def _trace(self, call: Call) -> None:
        # The names of the headers are the propagator's business; only texts can be among them.
        carrier = {name: value for name, value in call.metadata if isinstance(value, str)}
        attributes: dict[str, str | int] = {
            "rpc.system": "grpc",
            "rpc.service": _SERVICE,
            "rpc.method": call.method,
            "rpc.grpc.status_code": grpc.StatusCode[call.code].value[0],
        }
        if call.service:
            attributes |= {"featurestore.service": call.service, "featurestore.rows": call.rows}
        span = self._tracer.start_span(
            f"{_SERVICE}/{call.method}",
            context=self._extract(carrier),
            kind=self._kind,
            attributes=attributes,
            start_time=call.ended_at - int(call.seconds * _NANOSECONDS),
        )
        if call.code in _FAULTS:
            span.set_status(self._failed)
        span.end(call.ended_at)


def _provider(exporter: SpanExporter | None) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise _missing(error) from None
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):  # the environment names none
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE_NAME}))
    # Not at the exit of the process: it would wait half a minute for a receiver that is away.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    return provider


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(
        f"Tracing is on, and {error.name} is not installed.",
        hint="pip install 'featurestore[tracing]', or remove \"tracing\" under [serving] in featurestore.toml.",
    )
