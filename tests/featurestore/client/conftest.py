"""gRPC servers whose answers a test decides, and both clients behind one face."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from featurestore.client import AsyncFeatureClient, FeatureClient
from featurestore.v1 import serving_pb2 as pb

#: Takes the request's bytes and the call; returns the answer's, or ends the call with a status.
Answer = Callable[[bytes, Any], bytes]
SCHEMA = pb.GetServiceSchemaResponse(
    service="svc@1",
    join_keys=[pb.FieldSchema(name="k", dtype="Int64")],
    views=[pb.ViewSchema(name="view", version=1, features=[pb.FieldSchema(name="x", dtype="Float64")])],
)


class Scripted(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """A server on loopback that answers as it is told.

    Attributes:
        answers: by method; lookups and schemas are answered by default.
        calls: the methods that were called, with the client's address and the call's metadata.
        address: where it listens.
    """

    def __init__(self, credentials: Any = None, address: str = "localhost:0") -> None:
        self.answers: dict[str, Answer] = {
            "GetServiceSchema": lambda *_: SCHEMA.SerializeToString(),
            "GetOnlineFeatures": look_up,
            "Check": lambda *_: b"\x08\x01",
        }
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self._threads = ThreadPoolExecutor(16)
        self.server = grpc.server(self._threads, handlers=(self,))
        if credentials is None:
            port = self.server.add_insecure_port(address)
        else:
            port = self.server.add_secure_port(address, credentials)
        self.address = f"localhost:{port}"
        self.server.start()

    def service(self, handler_call_details: Any) -> Any:
        """Return what answers a call."""
        method = handler_call_details.method.rpartition("/")[2]
        if method not in self.answers:
            return None

        def answer(request: bytes, context: Any) -> bytes:
            metadata = dict(context.invocation_metadata())
            self.calls.append((method, context.peer(), metadata))
            return self.answers[method](request, context)

        return grpc.unary_unary_rpc_method_handler(answer)

    def count(self, method: str) -> int:
        """Return how often a method was called."""
        return sum(called == method for called, _, _ in self.calls)

    def stop(self, grace: float = 0) -> None:
        """Stop, and wait for it."""
        self.server.stop(grace).wait()
        self._threads.shutdown()


def look_up(request: bytes, _: Any = None) -> bytes:
    """Answer a lookup: each key is its own feature."""
    asked = pb.GetOnlineFeaturesRequest.FromString(request)
    keys = asked.columns[0].int64s.values
    rows = [pb.FeatureRow(status=pb.ROW_STATUS_PRESENT, event_timestamp=1, doubles=[key]) for key in keys]
    return pb.GetOnlineFeaturesResponse(service="svc@1", row_count=len(keys), rows=rows).SerializeToString()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    running: list[Scripted] = []

    def begin(credentials: Any = None, address: str = "localhost:0") -> Scripted:
        running.append(Scripted(credentials, address))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


class Awaited:
    """The client of asyncio, its coroutines run to their end by a loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: Any, **options: Any) -> None:
        self._loop = loop
        self._client = AsyncFeatureClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not inspect.iscoroutinefunction(method):
            return method
        return lambda *arguments, **options: self._loop.run_until_complete(method(*arguments, **options))


@pytest.fixture(params=["waiting", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client, each test with either; both must do the same."""
    loop = asyncio.new_event_loop()
    clients: list[Any] = []

    def begin(*arguments: Any, **options: Any) -> Any:
        waiting = request.param == "waiting"
        clients.append(FeatureClient(*arguments, **options) if waiting else Awaited(loop, *arguments, **options))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()
    loop.close()


class Streaming(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """A server of streams, in the event loop of a test; it answers each request after a while, of later ones earlier.

    Attributes:
        address: where it listens.
        streams: that were opened.
        server: gRPC's.
        status: what a stream ends with at its first request, if not None.
        pause: seconds until the first request of a stream is answered.
    """

    def __init__(self) -> None:
        self.streams = 0
        self.status: grpc.StatusCode | None = None
        self.pause = 0.05
        self.server = grpc.aio.server(handlers=(self,))
        self.address = f"localhost:{self.server.add_insecure_port('localhost:0')}"

    def service(self, handler_call_details: Any) -> Any:
        """Return what answers a call."""
        if handler_call_details.method.endswith("/GetServiceSchema"):
            return grpc.unary_unary_rpc_method_handler(self._schema)
        return grpc.stream_stream_rpc_method_handler(self._stream)

    async def _schema(self, *_: Any) -> bytes:
        return SCHEMA.SerializeToString()

    async def _stream(self, _: Any, context: Any) -> None:
        self.streams += 1
        answering = set()
        writing = asyncio.Lock()
        pause = self.pause
        while (data := await context.read()) is not grpc.aio.EOF:
            if self.status is not None:
                await context.abort(self.status, "It ends.")
            answering.add(asyncio.create_task(self._answer(data, pause, context, writing)))
            pause *= 0.9
        await asyncio.gather(*answering)

    async def _answer(self, data: bytes, pause: float, context: Any, writing: asyncio.Lock) -> None:
        await asyncio.sleep(pause)
        asked = pb.StreamOnlineFeaturesRequest.FromString(data)
        answer = pb.StreamOnlineFeaturesResponse(correlation_id=asked.correlation_id)
        if asked.request.request_id == "bad":
            answer.error.MergeFrom(pb.Error(code=3, message="It is bad.", hint="Be good."))
        else:
            answer.response.MergeFromString(look_up(asked.request.SerializeToString()))
        async with writing:
            await context.write(answer.SerializeToString())


@asynccontextmanager
async def _streaming() -> AsyncIterator[Streaming]:
    streaming = Streaming()
    await streaming.server.start()
    try:
        yield streaming
    finally:
        await streaming.server.stop(0)


@pytest.fixture
def streaming() -> Any:
    """Returns an asynchronous context manager: a running :class:`Streaming`."""
    return _streaming
