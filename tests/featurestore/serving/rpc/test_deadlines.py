"""Deadlines: what nobody waits for any more is not computed, and what is slow is let go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from featurestore.serving.lookup import Lookups
from featurestore.serving.rpc.server import Methods
from featurestore.v1 import serving_pb2 as pb

SERVICE = "/featurestore.v1.ServingService/"
LOOKUP = f"{SERVICE}GetOnlineFeatures"
PUSH = f"{SERVICE}PushFeatures"

Serving = Callable[..., Any]


def lookup() -> pb.GetOnlineFeaturesRequest:
    request = pb.GetOnlineFeaturesRequest(service="some")
    request.columns.add(name="origin").strings.values.append("JFK")
    return request


@pytest.fixture
def reads(lookups: Lookups, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often the store is read."""
    counted: list[int] = []
    read = lookups.store.read

    def counting(*about: Any) -> Any:
        counted.append(1)
        return read(*about)

    monkeypatch.setattr(lookups.store, "read", counting)
    return counted


def test_calls_whose_deadline_passed_while_they_waited_are_not_computed(serving: Serving, reads: list[int]) -> None:
    served = serving()
    request = lookup().SerializeToString()
    with grpc.insecure_channel(served.address) as channel:
        look = channel.unary_unary(LOOKUP)
        assert look(request)
        before = len(reads)
        with capture_logs() as logged:
            served.block(1.0)
            patient = [look.future(request, timeout=20) for _ in range(5)]
            hasty = [look.future(request, timeout=0.3) for _ in range(50)]
            for one in hasty:
                with pytest.raises(grpc.RpcError) as late:
                    one.result()
                assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert all(one.result() for one in patient)
    assert served.settle() == 0
    assert len(reads) - before == 5
    assert {code for _, code in served.watcher.codes} <= {"DEADLINE_EXCEEDED"}
    assert logged == []


def test_a_call_that_was_let_in_and_waits_for_the_loop_is_not_computed_either(
    serving: Serving, reads: list[int]
) -> None:
    served = serving()

    async def ask() -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(served.address) as channel:
            # To the server a unary call as any other, whose request comes a moment after its headers.
            call = channel.stream_stream(LOOKUP)(timeout=0.5)
            await call.wait_for_connection()
            while not served.server.gate.under_way:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(served.block, 1.0)
            await call.write(lookup().SerializeToString())
            await call.done_writing()
            code: grpc.StatusCode = await call.code()
            return code

    assert asyncio.run(ask()) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert served.settle() == 0
    assert reads == []


def test_a_stream_whose_deadline_passed_is_not_computed_on(serving: Serving, reads: list[int]) -> None:
    served = serving()
    asked = [pb.StreamOnlineFeaturesRequest(request=lookup()).SerializeToString()] * 20

    async def ask() -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(served.address) as channel:
            stream = channel.stream_stream(f"{SERVICE}StreamOnlineFeatures")(timeout=0.5)
            await stream.write(asked[0])
            assert await stream.read()
            await asyncio.to_thread(served.block, 1.5)
            for one in asked:
                await stream.write(one)
            code: grpc.StatusCode = await stream.code()
            return code

    assert asyncio.run(ask()) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert served.settle() == 0
    assert len(reads) == 1


def test_a_slow_method_is_let_go_when_its_deadline_passes(serving: Serving) -> None:
    ended: list[str] = []

    async def slow(_: bytes) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("let go")
            raise
        return b""

    served = serving(methods=Methods(others={"PushFeatures": slow}))
    with capture_logs() as logged, grpc.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.RpcError) as late:
            channel.unary_unary(PUSH)(b"", timeout=0.2)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert served.settle() == 0
        assert channel.unary_unary(LOOKUP)(lookup().SerializeToString(), timeout=5)
    assert ended == ["let go"]
    assert logged == []


def test_work_in_a_thread_is_finished_or_never_begun_when_its_callers_have_gone(serving: Serving) -> None:
    began, finished, hold = [], [], threading.Event()
    pool = ThreadPoolExecutor(1)

    def work() -> bytes:
        began.append(1)
        hold.wait(20)
        finished.append(1)
        return b""

    async def push(_: bytes) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    served = serving(methods=Methods(others={"PushFeatures": push}))
    with grpc.insecure_channel(served.address) as channel:
        calls = [channel.unary_unary(PUSH).future(b"", timeout=0.3) for _ in range(20)]
        for one in calls:
            with pytest.raises(grpc.RpcError):
                one.result()
        assert served.settle() == 0
        hold.set()
        pool.shutdown()
        assert channel.unary_unary(LOOKUP)(lookup().SerializeToString(), timeout=5)
    assert len(began) == len(finished) == 1


def test_a_call_without_a_deadline_is_answered_however_long_it_waited(serving: Serving) -> None:
    served = serving()
    with grpc.insecure_channel(served.address) as channel:
        look = channel.unary_unary(LOOKUP)
        assert look(lookup().SerializeToString())
        began = time.monotonic()
        served.block(0.5)
        assert look(lookup().SerializeToString())
        assert time.monotonic() - began > 0.4
