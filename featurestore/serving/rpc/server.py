"""The gRPC server: bytes to a method and back. Methods take raw bytes, so no message is built that need not be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection

from featurestore.errors import InvalidRequestError, ObjectNotFoundError
from featurestore.online.base import RemoteStore
from featurestore.serving.log import ServingLog
from featurestore.serving.lookup import LogEntry, Lookups
from featurestore.serving.replay import instant
from featurestore.serving.rpc.deadlines import check_deadline
from featurestore.serving.rpc.faults import fault_of
from featurestore.serving.rpc.gate import Admission, Gate
from featurestore.serving.rpc.standard import REFLECTION, health_handler, reflected
from featurestore.serving.rpc.streams import StreamedLookups
from featurestore.v1 import serving_pb2 as pb

SERVING = "featurestore.v1.ServingService"
REPLAY = "featurestore.v1.ReplayService"
#: Initial metadata of every response of a rehearsal: its clock.
REPLAY_HEADER = "x-featurestore-replay"
_KEEPALIVE_ANSWER_SECONDS = 20.0
_HANDSHAKE_SECONDS = 10.0

#: Answers a serialized request, off the hot path.
Handler = Callable[[bytes], Awaitable[bytes]]
Method = Callable[[bytes, Any], Awaitable[bytes]]


class Watcher(Protocol):
    """Is told of every call that has ended, with gRPC's context of it; it must be quick."""

    def answered(self, method: str, entry: LogEntry | None, seconds: float, context: Any) -> None:
        """A call, or a request of a stream, has its response; ``entry`` is what a lookup was, None for others."""
        ...

    def refused(self, method: str, code: str, seconds: float, context: Any) -> None:
        """A call, or a request of a stream, has a status in the place of a response: ``INVALID_ARGUMENT``."""
        ...


class Nobody:
    """A watcher that looks away."""

    def answered(self, method: str, entry: LogEntry | None, seconds: float, context: Any) -> None:
        """See :class:`Watcher`."""

    def refused(self, method: str, code: str, seconds: float, context: Any) -> None:
        """See :class:`Watcher`."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server takes.

    Attributes:
        calls: that are under way at once.
        message_bytes: of one request.
        streams: calls of one connection at once; its others wait.
        keepalive_seconds: after which a silent client is asked whether it lives.
        min_ping_seconds: between such questions of a client; one that asks more often is let go.
        connection_age_seconds: after which a client is asked to connect anew, its calls under way going on; 0 never.
        connection_idle_seconds: after which one that calls nothing is let go; 0 never.
    """

    calls: int = 1_000
    message_bytes: int = 16 << 20
    streams: int = 100
    keepalive_seconds: float = 60.0
    min_ping_seconds: float = 10.0
    connection_age_seconds: float = 0.0
    connection_idle_seconds: float = 0.0

    def options(self) -> list[tuple[str, int]]:
        """Return them as gRPC's channel arguments; the number of calls is the gate's."""
        found = [
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", self.streams),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", _milliseconds(_KEEPALIVE_ANSWER_SECONDS)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(self.min_ping_seconds)),
            # A connection that never finishes its handshake holds memory, for two minutes unless told otherwise.
            ("grpc.server_handshake_timeout_ms", _milliseconds(_HANDSHAKE_SECONDS)),
        ]
        if self.connection_age_seconds:
            found.append(("grpc.max_connection_age_ms", _milliseconds(self.connection_age_seconds)))
        if self.connection_idle_seconds:
            found.append(("grpc.max_connection_idle_ms", _milliseconds(self.connection_idle_seconds)))
        return found


@dataclass(kw_only=True)
class Methods:
    """What a server answers beside lookups: by name of the method, what takes the request's bytes.

    Attributes:
        advance: moves a rehearsal's clock, to microseconds since 1970, and returns how many rows entered its store;
            None on a live server, which then has no ReplayService.
        refresh: takes in what is registered by now; asked before somebody is told that there is no such service.
        others: ``PushFeatures``, ``LogPredictions``, ``LogOutcomes``.
    """

    advance: Callable[[int], int] | None = None
    refresh: Callable[[], Awaitable[None]] | None = None
    others: Mapping[str, Handler] = field(default_factory=dict)


class FeatureServer:
    """One server on one port, in a running event loop.

    Args:
        lookups: what answers.
        log: where lookups are logged.
        methods: what else is answered.
        limits: what is too much.
        admission: refuses callers; None lets everybody in.
        watcher: is told of every call.
    """

    def __init__(
        self,
        lookups: Lookups,
        log: ServingLog,
        methods: Methods | None = None,
        *,
        limits: Limits | None = None,
        admission: Admission | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        limits, methods = limits or Limits(), methods or Methods()
        self._lookups = lookups
        self._log = log
        self._refresh = methods.refresh
        self._watcher: Watcher = watcher or Nobody()
        #: Reads a store that is another process; None where a lookup reads it by itself.
        self._waiting = lookups.store.waiting() if isinstance(lookups.store, RemoteStore) else None
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 1), *limits.options()])
        unary: dict[str, Method] = {
            f"/{SERVING}/GetOnlineFeatures": self._get_online_features,
            f"/{SERVING}/GetServiceSchema": self._guarded("GetServiceSchema", self._get_schema),
        }
        for name, handler in methods.others.items():
            unary[f"/{SERVING}/{name}"] = self._guarded(name, partial(_handled, handler))
        self._services = ["", SERVING]
        if methods.advance is not None:
            advance = partial(self._advance_clock, methods.advance)
            unary[f"/{REPLAY}/AdvanceClock"] = self._guarded("AdvanceClock", advance)
            self._services.append(REPLAY)
        shown = (*self._services[1:], health.SERVICE_NAME, reflection.SERVICE_NAME)
        self._streams = StreamedLookups(lookups, log, self._watcher, methods.refresh, self._waiting)
        streams = {
            f"/{SERVING}/StreamOnlineFeatures": self._streams.answer,
            REFLECTION: reflected(shown),
        }
        self.gate = Gate(unary, streams, most=limits.calls, admission=admission, refused=self._watcher.refused)
        self._server.add_generic_rpc_handlers((self.gate, health_handler(self._health, most=limits.calls)))

    async def start(self, address: str, credentials: Any = None) -> int:
        """Listen at ``host:port`` and return the port.

        Args:
            address: where.
            credentials: of gRPC, for TLS; None listens without.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        port: int = (
            self._server.add_insecure_port(address)
            if credentials is None
            else self._server.add_secure_port(address, credentials)
        )
        await self._server.start()
        for service in self._services:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, grace: float) -> None:
        """Take no new calls, and give those under way ``grace`` seconds."""
        await self._health.enter_graceful_shutdown()
        self._streams.end()
        await self._server.stop(grace)
        if self._waiting is not None:
            await self._waiting.close()

    async def _get_online_features(self, request: bytes, context: Any, *, again: bool = False) -> bytes:
        started = time.perf_counter()
        try:
            check_deadline(context)
            # No await between the instant of a lookup and the log: a tick of the log then covers every one before it.
            if self._waiting is None:
                response, entry = self._lookups.get_online_features(request)
            else:
                left = context.time_remaining()
                response, entry = await self._lookups.get_online_features_waiting(request, self._waiting, left)
            self._log.offer(entry)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            if isinstance(error, ObjectNotFoundError) and not again and self._refresh is not None:
                await self._refresh()
                return await self._get_online_features(request, context, again=True)
            return await self._refuse(context, "GetOnlineFeatures", error, started)
        self._watcher.answered("GetOnlineFeatures", entry, time.perf_counter() - started, context)
        if self._lookups.replay:
            await _say_replay(context, entry.served_at)
        return response

    async def _get_schema(self, request: bytes, context: Any) -> bytes:
        try:
            response = self._lookups.get_service_schema(request)
        except ObjectNotFoundError:
            if self._refresh is None:
                raise
            await self._refresh()
            response = self._lookups.get_service_schema(request)
        if self._lookups.replay:
            await _say_replay(context, self._lookups.now())
        return response

    async def _advance_clock(self, advance: Callable[[int], int], request: bytes, context: Any) -> bytes:
        now = _parse_advance(request)
        # In a thread, so that lookups go on meanwhile.
        rows = await asyncio.to_thread(advance, now)
        await _say_replay(context, now)
        return pb.AdvanceClockResponse(now=now, rows_materialized=rows).SerializeToString()

    def _guarded(self, name: str, method: Method) -> Method:
        """Return the method with every error as a status, and no traceback for the client."""

        async def guarded(request: bytes, context: Any) -> bytes:
            started = time.perf_counter()
            try:
                check_deadline(context)
                answer = await method(request, context)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                return await self._refuse(context, name, error, started)
            self._watcher.answered(name, None, time.perf_counter() - started, context)
            return answer

        return guarded

    async def _refuse(self, context: Any, method: str, error: Exception, started: float) -> bytes:
        fault = fault_of(error, method)
        self._watcher.refused(method, fault.code.name, time.perf_counter() - started, context)
        await context.abort(fault.code, fault.text, fault.trailing)
        raise AssertionError("abort raises")


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


async def _handled(handler: Handler, request: bytes, _: Any) -> bytes:
    return await handler(request)


async def _say_replay(context: Any, now: int) -> None:
    await context.send_initial_metadata(((REPLAY_HEADER, instant(now).isoformat()),))


def _parse_advance(request: bytes) -> int:
    try:
        now = pb.AdvanceClockRequest.FromString(request).now
    except DecodeError:
        raise InvalidRequestError("The request is not an AdvanceClockRequest.") from None
    try:
        instant(now)
    except OverflowError:
        raise InvalidRequestError(
            f"{now} is no instant: it lies beyond the years 1 to 9999.",
            hint="It is microseconds since 1970, UTC.",
            field="now",
        ) from None
    return now
