"""gRPC's own services, health and reflection: theirs to answer, ours to read from the wire.

What cannot be read is INVALID_ARGUMENT, as everywhere here; left to themselves they answer with the name of a Python
class, and write a traceback into the log for each request that somebody makes up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from featurestore.errors import InvalidRequestError, LimitExceededError
from featurestore.serving.rpc.faults import fault_of

#: The path of the only method of reflection.
REFLECTION = f"/{reflection.SERVICE_NAME}/ServerReflectionInfo"


def health_handler(servicer: Any, *, most: int) -> Any:
    """Return the health service as gRPC takes it. It is open to everybody, and answers also a server that is busy.

    Args:
        servicer: gRPC's.
        most: how many may watch at once.
    """
    watching = 0

    async def watch(request: Any, context: Any) -> None:
        nonlocal watching
        if watching >= most:
            await _refuse(context, "Watch", LimitExceededError(f"{most:,} watch already, and no more may."))
        watching += 1
        try:
            await servicer.Watch(request, context)
        finally:
            watching -= 1

    read, write = partial(_read, health_pb2.HealthCheckRequest), health_pb2.HealthCheckResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        health.SERVICE_NAME,
        {
            "Check": grpc.unary_unary_rpc_method_handler(_readable(servicer.Check, "Check"), read, write),
            "Watch": grpc.unary_stream_rpc_method_handler(_readable(watch, "Watch"), read, write),
        },
    )


def reflected(services: Iterable[str]) -> Callable[[Any, Any], Awaitable[None]]:
    """Return what answers reflection: a stream of bytes.

    Args:
        services: the full names of what there is.
    """
    servicer = reflection.aio.ReflectionServicer(services)

    async def answer(_: Any, context: Any) -> None:
        async def requests() -> AsyncIterator[Any]:
            while (data := await context.read()) is not grpc.aio.EOF:
                request = _read(reflection_pb2.ServerReflectionRequest, data)
                if request is None:
                    await _refuse(context, "ServerReflectionInfo", _unreadable("ServerReflectionRequest"))
                yield request

        async for response in servicer.ServerReflectionInfo(requests(), context):
            await context.write(response.SerializeToString())

    return answer


def _readable(method: Callable[[Any, Any], Awaitable[Any]], name: str) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: Any) -> Any:
        if request is None:
            await _refuse(context, name, _unreadable("HealthCheckRequest"))
        return await method(request, context)

    return answer


def _read(kind: Any, data: bytes) -> Any:
    """Return a message; None if the bytes are none: gRPC has no good answer to an error here."""
    try:
        return kind.FromString(data)
    except DecodeError:
        return None


def _unreadable(kind: str) -> InvalidRequestError:
    return InvalidRequestError(f"The request is not a {kind}.")


async def _refuse(context: Any, method: str, error: Exception) -> None:
    fault = fault_of(error, method)
    await context.abort(fault.code, fault.text, fault.trailing)
