"""Which calls are let in: those of a method that there is, by a caller who may, while there are not too many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import grpc

from featurestore.errors import LimitExceededError
from featurestore.serving.rpc.faults import fault_of

Unary = Callable[[bytes, Any], Awaitable[bytes]]
Stream = Callable[[Any, Any], Awaitable[None]]

#: Takes a serialized request; raises a FeatureStoreError if its caller may not ask for that.
Check = Callable[[bytes], None]
#: Takes the method's path and the call's metadata; raises a FeatureStoreError if the caller may not call it. Returns
#: what his request must pass beside; None if it may ask for anything.
Admission = Callable[[str, Any], Check | None]
#: Is told the method, the status's code, seconds, and gRPC's context of a call that was not let in.
Refused = Callable[[str, str, float, Any], None]


class _Call:
    """What gRPC needs to know of a method; one exists for each call that is under way, and counts it by existing.

    gRPC lets go of it however the call ends, also when its client has gone before the request was read.
    """

    request_streaming: ClassVar[bool] = False
    response_streaming: ClassVar[bool] = False
    request_deserializer: ClassVar[None] = None
    response_serializer: ClassVar[None] = None
    unary_unary: Any = None
    unary_stream: ClassVar[None] = None
    stream_unary: ClassVar[None] = None
    stream_stream: ClassVar[Any] = None

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        gate.under_way += 1

    def __del__(self) -> None:
        self._gate.under_way -= 1


class _CheckedCall(_Call):
    """A call whose caller may not ask for everything: it has a method of its own."""

    __slots__ = ("unary_unary",)

    def __init__(self, gate: Gate, method: Unary) -> None:
        super().__init__(gate)
        self.unary_unary = method


class Gate(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """The door of a server.

    Args:
        unary: by path, what answers a call of one request.
        streams: by path, what answers a stream of requests.
        most: calls that may be under way at once; a stream is one.
        section: of ``featurestore.toml``, where that limit stands.
        admission: refuses callers; None lets everybody in.
        refused: is told of calls that were not let in.

    Attributes:
        under_way: calls that are being answered, or wait to be.
    """

    def __init__(
        self,
        unary: Mapping[str, Unary],
        streams: Mapping[str, Stream],
        *,
        most: int,
        section: str = "serving",
        admission: Admission | None = None,
        refused: Refused | None = None,
    ) -> None:
        self.under_way = 0
        self._most = most
        self._section = section
        self._admission = admission
        self._refused = refused
        self._unary = unary
        # A class a method: what is the same for each of its calls is then made once.
        self._calls: dict[str, type[_Call]] = {}
        for path, method in unary.items():
            self._calls[path] = type("Call", (_Call,), {"__slots__": (), "unary_unary": staticmethod(method)})
        for path, stream in streams.items():
            about = {"__slots__": (), "stream_stream": staticmethod(stream)}
            self._calls[path] = type("Call", (_Call,), about | {"request_streaming": True, "response_streaming": True})

    def service(self, handler_call_details: Any) -> Any:
        """Return what answers a call; None for a method that there is not."""
        path = handler_call_details.method
        call = self._calls.get(path)
        if call is None:
            return None
        try:
            if self.under_way >= self._most:
                raise LimitExceededError(
                    f"The server answers {self._most:,} calls at once, and no more.",
                    hint=f"Try again after a pause, or add servers; the limit is max_calls under [{self._section}].",
                    limit="max_calls",
                )
            if self._admission is not None:
                check = self._admission(path, handler_call_details.invocation_metadata)
                if check is not None:
                    return _CheckedCall(self, partial(self._checked, path, check))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return self._refusing(error, path)
        return call(self)

    async def _checked(self, path: str, check: Check, request: bytes, context: Any) -> bytes:
        """Answer a call whose caller may not ask for everything."""
        try:
            check(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            await self._refuse(error, path, context)
        return await self._unary[path](request, context)

    def _refusing(self, error: Exception, path: str) -> Any:
        async def refuse(_: Any, context: Any) -> None:
            await self._refuse(error, path, context)

        # As a stream, also where a method takes one request: it is the same on the wire, and nobody waits for a request
        # that is long, or never comes.
        return grpc.stream_stream_rpc_method_handler(refuse)

    async def _refuse(self, error: Exception, path: str, context: Any) -> None:
        method = path.rpartition("/")[2]
        fault = fault_of(error, method)
        if self._refused is not None:
            self._refused(method, fault.code.name, 0.0, context)
        await context.abort(fault.code, fault.text, fault.trailing)
