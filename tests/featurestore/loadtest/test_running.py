"""Senders against servers that are good, that stall, that refuse, and that are not there."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from featurestore.errors import (
    ConfigError,
    InvalidRequestError,
    ObjectNotFoundError,
    ServerUnavailableError,
    ServingError,
)
from featurestore.loadtest.result import About, Result
from featurestore.loadtest.running import check_address, run_loadtest
from featurestore.loadtest.schedule import Schedule
from featurestore.loadtest.sending import Endpoint, Job, Progress
from featurestore.loadtest.targets import parse_targets
from featurestore.v1 import serving_pb2 as pb

LOOKUP = "/featurestore.v1.ServingService/GetOnlineFeatures"
ABOUT = About(service="churn", server="here", run="ab", rows="a test")
BODIES = [pb.GetOnlineFeaturesRequest(service="churn", request_id=str(one)).SerializeToString() for one in range(9)]
ANSWER = pb.GetOnlineFeaturesResponse(
    service="churn@1", row_count=1, rows=[pb.FeatureRow(status=pb.ROW_STATUS_PRESENT)]
).SerializeToString()

Handler = Callable[[bytes, Any], Awaitable[bytes]]


class Server:
    """A gRPC server of one method, in a thread of its own."""

    def __init__(self, handler: Handler) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        class Method(grpc.GenericRpcHandler):  # type: ignore[misc]
            def service(self, details: Any) -> Any:
                return grpc.unary_unary_rpc_method_handler(handler) if details.method == LOOKUP else None

        async def start() -> int:
            self._server = grpc.aio.server(handlers=[Method()])
            port: int = self._server.add_insecure_port("127.0.0.1:0")
            await self._server.start()
            return port

        self.address = f"127.0.0.1:{self._run(start())}"

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        self._run(self._server.stop(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], str]]:
    running: list[Server] = []

    def begin(handler: Handler) -> str:
        running.append(Server(handler))
        return running[-1].address

    yield begin
    for one in running:
        one.stop()


class Stalling:
    """Answers at once, but for one stretch in which nobody gets an answer."""

    def __init__(self, after: float, seconds: float) -> None:
        self._after, self._seconds = after, seconds
        self._first = 0.0

    def again(self) -> None:
        self._first = 0.0

    async def answer(self, *_: Any) -> bytes:
        now = time.monotonic()
        self._first = self._first or now
        end = self._first + self._after + self._seconds
        if end - self._seconds <= now < end:
            await asyncio.sleep(end - now)
        return ANSWER


async def good(*_: Any) -> bytes:
    return ANSWER


def job(address: str, *, rate: float = 100, seconds: float = 1.0, **changes: Any) -> Job:
    schedule = Schedule(first=rate, last=rate, seconds=seconds, poisson=False)
    return replace(Job(endpoint=Endpoint(address=address), bodies=BODIES, schedule=schedule, timeout=5.0), **changes)


def run(one: Job, targets: str = "", processes: int = 1, watch: Any = None) -> Result:
    return run_loadtest(one, parse_targets(targets), ABOUT, processes=processes, watch=watch)


def test_every_request_is_sent_and_answered_and_looked_into(serve: Callable[[Handler], str]) -> None:
    seen: list[Progress] = []
    found = run(job(serve(good)), processes=2, watch=lambda _, sent: seen.append(sent))
    assert (found.requests, found.answered, found.errors) == (100, 100, 0.0)
    assert found.codes == {"OK": 100}
    assert found.row_statuses == {"PRESENT": 1.0}
    assert found.services == {"churn@1": 1.0}
    assert [one.sent for one in seen] == sorted(one.sent for one in seen)


def test_a_stall_of_a_second_is_in_the_p99_where_a_closed_loop_does_not_see_it(
    serve: Callable[[Handler], str],
) -> None:
    """Coordinated omission: who waits for each answer asks only once while a server stalls, and calls that rare."""
    server = Stalling(after=1.0, seconds=1.0)
    address = serve(server.answer)
    found = run(job(address, rate=150, seconds=3.0), "p99<500ms")
    assert found.latency[99.0] is not None
    assert found.latency[99.0] > 0.7  # a third of all requests fell into it
    assert found.errors == 0
    assert [one.holds for one in found.checks] == [False]

    server.again()
    waits = []
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(LOOKUP)
        first = time.monotonic()
        while len(waits) < 400 or time.monotonic() - first < 2.5:
            begin = time.monotonic()
            ask(BODIES[0], timeout=10)
            waits.append(time.monotonic() - begin)
    assert max(waits) > 0.7
    assert np.percentile(waits, 99) < 0.5


def test_requests_beyond_those_that_may_wait_are_held_and_their_wait_counts(serve: Callable[[Handler], str]) -> None:
    async def slow(*_: Any) -> bytes:
        await asyncio.sleep(0.2)
        return ANSWER

    found = run(job(serve(slow), rate=50, seconds=1.0, outstanding=2))
    assert found.held > 20
    assert found.answered == 50  # two in each fifth of a second, and time to end
    assert found.latency[99.0] is not None
    assert found.latency[99.0] > 2.0


def test_what_cannot_be_sent_in_the_end_counts_as_an_error(serve: Callable[[Handler], str]) -> None:
    async def slow(*_: Any) -> bytes:
        await asyncio.sleep(0.2)
        return ANSWER

    found = run(job(serve(slow), rate=50, seconds=1.0, outstanding=1, timeout=0.5))
    assert found.requests == 50
    assert found.codes["NOT_SENT"] == 50 - found.answered - found.codes.get("DEADLINE_EXCEEDED", 0)
    assert found.errors > 0.5


def test_a_timeout_is_an_error_and_its_wait_counts(serve: Callable[[Handler], str]) -> None:
    calls = iter(range(1_000))

    async def sometimes(*_: Any) -> bytes:
        await asyncio.sleep(1.0 if next(calls) % 2 else 0.0)
        return ANSWER

    found = run(job(serve(sometimes), rate=20, timeout=0.3))
    assert found.codes["DEADLINE_EXCEEDED"] >= 8
    assert found.latency[99.0] is not None
    assert found.latency[99.0] > 0.25


def test_errors_are_counted_by_status(serve: Callable[[Handler], str]) -> None:
    calls = iter(range(1_000))

    async def refusing(_: bytes, context: Any) -> bytes:
        if next(calls) % 2:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
        return ANSWER

    found = run(job(serve(refusing)), "errors<1%")
    assert found.codes["RESOURCE_EXHAUSTED"] == 50
    assert not found.passed


def test_a_sender_that_cannot_keep_up_says_so(serve: Callable[[Handler], str]) -> None:
    found = run(job(serve(good), rate=40_000, seconds=0.5, outstanding=50_000), "p99<20s,errors<100%")
    assert found.invalid
    assert not found.passed


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (grpc.StatusCode.NOT_FOUND, ObjectNotFoundError, "no such service"),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError, "no such service"),
        (grpc.StatusCode.UNAUTHENTICATED, ServingError, "UNAUTHENTICATED"),
    ],
)
def test_a_refusal_of_the_first_request_is_said_once_and_nothing_more_is_sent(
    serve: Callable[[Handler], str], code: grpc.StatusCode, kind: type[Exception], said: str
) -> None:
    calls: list[bytes] = []

    async def refuse(request: bytes, context: Any) -> bytes:
        calls.append(request)
        await context.abort(code, "no such service\nHint: ask for another")
        return b""

    with pytest.raises(kind, match=said) as caught:
        run(job(serve(refuse)))
    assert len(calls) == 1
    assert getattr(caught.value, "hint", "") == "ask for another"


def test_no_server_is_said_with_how_to_start_one() -> None:
    with pytest.raises(ServerUnavailableError, match=r"No feature server answers at 127\.0\.0\.1:9") as caught:
        run(job("127.0.0.1:9"))
    assert "starts none: featurestore serve" in caught.value.hint


def senders() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        with suppress(psutil.Error):  # it has just ended
            if "spawn_main" in " ".join(one.cmdline()):
                found.append(one)
    return found


def test_the_first_ctrl_c_gives_the_result_so_far_and_no_process_stays(serve: Callable[[Handler], str]) -> None:
    def interrupt(_: float, sent: Progress) -> None:
        if sent.answered >= 20:
            os.kill(os.getpid(), signal.SIGINT)

    before = senders()
    found = run(job(serve(good), seconds=20.0), processes=2, watch=interrupt)
    assert found.interrupted
    assert 20 <= found.answered < 1000
    assert found.seconds < 30
    assert not [one for one in senders() if one not in before]


def test_a_sender_that_is_killed_is_reported(serve: Callable[[Handler], str]) -> None:
    def kill(*_: Any) -> None:
        for one in senders():
            one.kill()

    with pytest.raises(ServingError, match="sender of the load test ended"):
        run(job(serve(good), seconds=30.0), watch=kill)


def test_only_this_machine_is_put_under_load_unless_another_is_allowed() -> None:
    for address in ("127.0.0.1:6566", "127.3.2.1:1", "[::1]:6566", "localhost:6566"):
        assert check_address(address, allow_remote=False) == address
    for address in ("192.0.2.1:6566", "0.0.0.0:6566", "[2001:db8::1]:6566"):
        with pytest.raises(ConfigError, match="not on this machine") as caught:
            check_address(address, allow_remote=False)
        assert "--allow-remote" in caught.value.hint
        assert check_address(address, allow_remote=True) == address
    for address in ("", "host", "host:", ":1", "host:x", "host:0", "host:65536"):
        with pytest.raises(ConfigError, match="is no address"):
            check_address(address, allow_remote=False)
