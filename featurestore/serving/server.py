"""The gRPC server: bytes to a lookup and back. Methods take raw bytes, so no message is built that need not be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from featurestore.errors import (
    FeatureStoreError,
    InvalidRequestError,
    ObjectNotFoundError,
    OfflineStoreError,
    OnlineStoreError,
)
from featurestore.serving.log import ServingLog
from featurestore.serving.lookup import Lookups
from featurestore.serving.replay import instant
from featurestore.v1 import serving_pb2 as pb

SERVING = "featurestore.v1.ServingService"
REPLAY = "featurestore.v1.ReplayService"
#: Initial metadata of every response of a rehearsal: its clock.
REPLAY_HEADER = "x-featurestore-replay"

#: The one place where our errors become gRPC's; any other of ours is INTERNAL.
_CODES: dict[type[FeatureStoreError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    ObjectNotFoundError: grpc.StatusCode.NOT_FOUND,
    OnlineStoreError: grpc.StatusCode.UNAVAILABLE,
    OfflineStoreError: grpc.StatusCode.UNAVAILABLE,
}

_MAX_REQUEST_BYTES = 16 << 20

Method = Callable[[bytes, Any], Awaitable[bytes]]

_logger = structlog.get_logger(__name__)


class FeatureServer:
    """One server on one port, in a running event loop.

    Args:
        lookups: what answers.
        log: where lookups are logged.
        advance: moves a rehearsal's clock, to microseconds since 1970, and returns how many rows entered its store;
            None on a live server, which then has no ReplayService.
    """

    def __init__(self, lookups: Lookups, log: ServingLog, advance: Callable[[int], int] | None = None) -> None:
        self._lookups = lookups
        self._log = log
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 1), ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES)]
        )
        methods: dict[str, dict[str, Method]] = {
            SERVING: {"GetOnlineFeatures": self._get_online_features, "GetServiceSchema": self._get_schema}
        }
        if advance is not None:
            methods[REPLAY] = {"AdvanceClock": partial(self._advance_clock, advance)}
        self._services = ["", *methods]
        for service, handlers in methods.items():
            self._server.add_generic_rpc_handlers(
                [
                    grpc.method_handlers_generic_handler(
                        service,
                        {
                            name: grpc.unary_unary_rpc_method_handler(_guarded(name, one))
                            for name, one in handlers.items()
                        },
                    )
                ]
            )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*methods, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, address: str) -> int:
        """Listen at ``host:port`` and return the port.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        port: int = self._server.add_insecure_port(address)
        await self._server.start()
        for service in self._services:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, grace: float) -> None:
        """Take no new calls, and give those under way ``grace`` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)

    async def _get_online_features(self, request: bytes, context: Any) -> bytes:
        # No await between the lookup and the log: a tick of the log then covers every lookup before it.
        response, entry = self._lookups.get_online_features(request)
        self._log.offer(entry)
        if self._lookups.replay:
            await self._say_replay(context, entry.served_at)
        return response

    async def _get_schema(self, request: bytes, context: Any) -> bytes:
        response = self._lookups.get_service_schema(request)
        if self._lookups.replay:
            await self._say_replay(context, self._lookups.now())
        return response

    async def _advance_clock(self, advance: Callable[[int], int], request: bytes, context: Any) -> bytes:
        now = _parse_advance(request)
        # In a thread, so that lookups go on meanwhile.
        rows = await asyncio.to_thread(advance, now)
        await self._say_replay(context, now)
        return pb.AdvanceClockResponse(now=now, rows_materialized=rows).SerializeToString()

    @staticmethod
    async def _say_replay(context: Any, now: int) -> None:
        await context.send_initial_metadata(((REPLAY_HEADER, instant(now).isoformat()),))


def _parse_advance(request: bytes) -> int:
    try:
        return pb.AdvanceClockRequest.FromString(request).now
    except ValueError:  # DecodeError is one
        raise InvalidRequestError("The request is not an AdvanceClockRequest.") from None


def _guarded(name: str, method: Method) -> Method:
    """Return the method with every error as a status, and no traceback for the client."""

    async def guarded(request: bytes, context: Any) -> bytes:
        try:
            return await method(request, context)
        except FeatureStoreError as error:
            code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
            message = str(error)
            if code is not grpc.StatusCode.INVALID_ARGUMENT and code is not grpc.StatusCode.NOT_FOUND:
                _logger.error("request failed", method=name, error=message)
                if not error.hint:
                    # A client tells our UNAVAILABLE from that of a server that is not there by its hint.
                    message += "\nHint: The log of the server says when it began."
        except Exception:  # whatever is unforeseen must reach our log, and not the client
            _logger.exception("request failed", method=name)
            code, message = grpc.StatusCode.INTERNAL, "The server failed; its log says why."
        await context.abort(code, message)
        raise AssertionError("abort raises")

    return guarded
