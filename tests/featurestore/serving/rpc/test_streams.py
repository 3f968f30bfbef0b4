"""Streams of lookups, over a real connection."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from featurestore.serving.lookup import Lookups
from featurestore.v1 import serving_pb2 as pb

STREAM = "/featurestore.v1.ServingService/StreamOnlineFeatures"


def message(number: int, origin: str, service: str = "some") -> bytes:
    request = pb.GetOnlineFeaturesRequest(service=service, request_id=f"r-{number}")
    request.columns.add(name="origin").strings.values.append(origin)
    return pb.StreamOnlineFeaturesRequest(correlation_id=number, request=request).SerializeToString()


class Talk:
    """A stream, one message at a time."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.call = channel.stream_stream(STREAM)(iter(self._messages.get, None), timeout=30)

    def ask(self, data: bytes) -> pb.StreamOnlineFeaturesResponse:
        self._messages.put(data)
        return pb.StreamOnlineFeaturesResponse.FromString(next(self.call))

    def end(self) -> list[bytes]:
        self._messages.put(None)
        return list(self.call)


@pytest.fixture
def talk(serving: Callable[..., Any]) -> Iterator[Callable[[], tuple[Talk, Any]]]:
    channels = []

    def begin() -> tuple[Talk, Any]:
        server = serving()
        channels.append(grpc.insecure_channel(server.address))
        return Talk(channels[-1]), server

    yield begin
    for channel in channels:
        channel.close()


def test_each_answer_has_the_number_of_its_request_and_is_what_a_call_gives(
    talk: Callable[[], tuple[Talk, Any]], lookups: Lookups
) -> None:
    stream, server = talk()
    for number, origin in ((7, "JFK"), (0, "XXX"), (2**64 - 1, "EWR")):
        asked = pb.StreamOnlineFeaturesRequest.FromString(message(number, origin))
        alone = pb.GetOnlineFeaturesResponse.FromString(lookups.answer(asked.request).response)
        found = stream.ask(message(number, origin))
        assert found.correlation_id == number
        assert found.response == alone
    assert stream.end() == []
    assert stream.call.code() is grpc.StatusCode.OK
    assert server.watcher.answers == 3


def test_a_request_that_is_refused_has_an_error_and_the_next_is_answered(talk: Callable[[], tuple[Talk, Any]]) -> None:
    stream, server = talk()
    refused = stream.ask(message(1, "JFK", service="sme"))
    assert (refused.correlation_id, refused.error.code) == (1, grpc.StatusCode.NOT_FOUND.value[0])
    assert refused.error.message == 'There is no feature service "sme".'
    assert refused.error.hint == 'Did you mean "some"?'
    wrong = pb.StreamOnlineFeaturesRequest.FromString(message(1, "JFK"))
    wrong.request.columns[0].name = "orign"
    assert stream.ask(wrong.SerializeToString()).error.field == "columns[orign]"
    many = pb.StreamOnlineFeaturesRequest.FromString(message(1, "JFK"))
    many.request.columns[0].strings.values.extend(["JFK"] * 9)
    assert stream.ask(many.SerializeToString()).error.limit == "max_rows"
    broken = stream.ask(b"\xff\xff")
    assert broken.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert stream.ask(message(2, "JFK")).response.row_count == 1
    assert [code for _, code in server.watcher.codes] == [
        "NOT_FOUND",
        "INVALID_ARGUMENT",
        "RESOURCE_EXHAUSTED",
        "INVALID_ARGUMENT",
    ]
    stream.end()


def test_a_server_that_stops_ends_a_stream_once_what_it_was_asked_is_answered(
    talk: Callable[[], tuple[Talk, Any]],
) -> None:
    """A stream has no end of its own: it must not use up the time that calls are given."""
    stream, server = talk()
    assert stream.ask(message(1, "JFK")).response.row_count == 1
    started = time.monotonic()
    stopped = threading.Thread(target=lambda: server.run(server.server.stop(20)))
    stopped.start()
    with pytest.raises(grpc.RpcError) as caught:
        next(stream.call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "The server is stopping."
    stopped.join()
    assert time.monotonic() - started < 10
