"""Lookups over one call: each coroutine gets its own answer, whatever the order, and a server that goes is replaced."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import AsyncFeatureClient, FeatureStream
from featurestore.errors import (
    ConfigError,
    DeadlineExceededError,
    FeatureStoreError,
    InvalidRequestError,
    ObjectNotFoundError,
    ServerUnavailableError,
    ServingError,
    UnauthenticatedError,
)
from featurestore.types import Float64, Int64
from tests import forking


async def ask(stream: FeatureStream, key: int, **options: Any) -> float:
    answer = await stream.get_online_features("svc", {"k": [key]}, **options)
    found: float = answer.to_dict()["x"][0]
    return found


def test_answers_that_come_in_another_order_reach_those_who_asked(streaming: Any) -> None:
    async def main() -> None:
        async with (
            streaming() as server,
            AsyncFeatureClient(server.address) as client,
            client.stream() as stream,
        ):
            await ask(stream, 0)
            finished: list[int] = []

            async def one(key: int) -> None:
                assert await ask(stream, key) == key
                finished.append(key)

            await asyncio.gather(*(one(key) for key in range(200)))
            assert finished != sorted(finished)
            assert server.streams == 1

    asyncio.run(main())


def test_a_request_that_is_refused_ends_no_other(streaming: Any) -> None:
    async def main() -> None:
        async with streaming() as server, AsyncFeatureClient(server.address) as client, client.stream() as stream:
            bad, good = await asyncio.gather(ask(stream, 1, request_id="bad"), ask(stream, 2), return_exceptions=True)
            assert isinstance(bad, InvalidRequestError)
            assert (bad.message, bad.hint) == ("It is bad.", "Be good.")
            assert good == 2
            assert server.streams == 1

    asyncio.run(main())


def test_a_request_that_takes_too_long_or_is_given_up_ends_no_other(streaming: Any) -> None:
    async def main() -> None:
        async with streaming() as server, AsyncFeatureClient(server.address) as client, client.stream() as stream:
            server.pause = 0.5
            await client.get_schema("svc")
            given_up = asyncio.create_task(ask(stream, 1))
            late = asyncio.create_task(ask(stream, 2, timeout=0.1))
            patient = asyncio.create_task(ask(stream, 3))
            await asyncio.sleep(0.05)
            given_up.cancel()
            with pytest.raises(DeadlineExceededError, match=r"0\.1 s"):
                await late
            assert await patient == 3
            assert server.streams == 1

    asyncio.run(main())


def test_requests_that_were_under_way_when_their_server_went_are_answered_by_another(streaming: Any) -> None:
    async def main() -> None:
        async with (
            streaming() as one,
            streaming() as other,
            AsyncFeatureClient([one.address, other.address], timeout=20) as client,
            client.stream() as stream,
        ):
            one.pause = other.pause = 15.0
            asking = [asyncio.create_task(ask(stream, key)) for key in range(20)]
            while not one.streams + other.streams:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            busy, free = (one, other) if one.streams else (other, one)
            free.pause = 0.01
            await busy.server.stop(0)
            assert await asyncio.gather(*asking) == list(range(20))
            assert free.streams == 1

    asyncio.run(main())


def test_a_stream_that_cannot_be_opened_says_why_and_is_opened_again_later(streaming: Any) -> None:
    async def main() -> None:
        async with streaming() as server, AsyncFeatureClient(server.address, retries=1) as client:
            async with client.stream() as stream:
                server.status = grpc.StatusCode.UNAUTHENTICATED
                with pytest.raises(UnauthenticatedError, match="It ends"):
                    await ask(stream, 1)
                server.status = grpc.StatusCode.UNAVAILABLE
                with pytest.raises(ServerUnavailableError):
                    await ask(stream, 1)
                assert server.streams == 3
                server.status = None
                assert await ask(stream, 1) == 1
            with pytest.raises(ServingError, match="is closed"):
                await ask(stream, 1)

    asyncio.run(main())


def test_a_token_whose_file_is_gone_leaves_no_connection_busy(streaming: Any, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        file.write_text("fst_secret")
        async with streaming() as server, AsyncFeatureClient(server.address, token=file) as client:
            await client.get_schema("svc")
            file.unlink()
            async with client.stream() as stream:
                for _ in range(3):
                    with pytest.raises(ConfigError):
                        await ask(stream, 1)
            assert {one.under_way for one in client._network.pool.members} == {0}

    asyncio.run(main())


def test_a_stream_that_is_closed_with_requests_under_way_blames_no_server(streaming: Any) -> None:
    async def main() -> None:
        async with streaming() as server, AsyncFeatureClient(server.address) as client:
            await client.get_schema("svc")
            server.pause = 30.0
            stream = client.stream()
            asking = [asyncio.create_task(ask(stream, key, timeout=20)) for key in range(3)]
            while not server.streams:
                await asyncio.sleep(0.01)
            await stream.close()
            for one in asking:
                with pytest.raises(ServingError, match="is closed"):
                    await one
            pool = client._network.pool
            assert pool.has_other(time.monotonic())
            assert {one.under_way for one in pool.members} == {0}
            assert server.streams == 1

    asyncio.run(main())


def test_a_stream_of_a_closed_client_says_that_it_is_closed(streaming: Any) -> None:
    async def main() -> None:
        async with streaming() as server:
            client = AsyncFeatureClient(server.address)
            stream = client.stream()
            assert await ask(stream, 1) == 1
            await client.close()
            with pytest.raises(ServingError, match="is closed"):
                await ask(stream, 1)
            await stream.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    user = Entity(name="user", join_keys=["k"], dtypes=[Int64])
    view = FeatureView(name="view", entities=[user], schema=[Field(name="x", dtype=Float64)])
    with FeatureStore.init(folder, project="shop") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        instant = datetime(2024, 1, 1, tzinfo=UTC)
        store.ingest("view", [{"k": key, "x": float(key), "event_timestamp": instant} for key in range(50)])
        store.materialize("view")
    settings = folder / "featurestore.toml"
    settings.write_text(settings.read_text().replace("[serving]", "[serving]\ndrain_seconds = 0.5"))
    return folder


def serve(repo: Path, port: int = 0) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "featurestore", "serve", "--port", str(port), "--repo", str(repo)]
    process = forking.Forked(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    return process, process.stdout.readline().split(" at ")[1].split(",")[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_lookup_is_lost_while_a_real_server_is_started_anew(repo: Path, number: int) -> None:
    first, address = serve(repo)
    running = [first]

    async def main() -> None:
        random.seed(1)
        stop = asyncio.Event()
        async with AsyncFeatureClient(address, timeout=60, retries=1000) as client, client.stream() as stream:

            async def go_on() -> int:
                done = 0
                while not stop.is_set():
                    key = random.randrange(50)
                    assert await ask(stream, key) == key
                    done += 1
                return done

            asking = [asyncio.create_task(go_on()) for _ in range(10)]
            await asyncio.sleep(0.5)
            first.send_signal(number)
            await asyncio.to_thread(first.wait)
            running.append((await asyncio.to_thread(serve, repo, int(address.rpartition(":")[2])))[0])
            assert await ask(stream, 7) == 7
            await asyncio.sleep(0.3)
            stop.set()
            assert min(await asyncio.gather(*asking)) > 1
            with pytest.raises(ObjectNotFoundError, match='no feature service "other"'):
                await stream.get_online_features("other", {"k": [1]})
            with pytest.raises(FeatureStoreError, match="rows"):
                await stream.get_online_features("svc", {"k": [1] * 100_000})

    try:
        asyncio.run(main())
    finally:
        for process in running:
            process.terminate()
            process.communicate(timeout=30)
