"""What does the client add to a lookup? In this process, to the forms that users want, and over the wire.

Floors: of a lookup in process its bytes alone, of reading them NumPy's copy of as many numbers, of a call over the wire
a bare grpcio call with the same bytes, of a stream the same lookups as calls of their own.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa

from benchmarks.harness import Row
from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import AsyncFeatureClient, FeatureClient, OnlineFeatures
from featurestore.client.answer import Head
from featurestore.client.schema import ServiceSchema
from featurestore.types import Float64, Int64
from featurestore.v1 import serving_pb2 as pb

KEYS, FEATURES, ROWS, COROUTINES = 10_000, 50, 100, 16
METHOD = "/featurestore.v1.ServingService/GetOnlineFeatures"
#: What 100 rows of 50 features may take from the store to an array, in milliseconds.
GOAL = 0.5

Work = Callable[[], object]


def run(*, quick: bool) -> list[Row]:
    """Ask for 100 rows of 50 features of one view in process and over the wire, and for one row over a stream."""
    calls, pairs = (50, 5) if quick else (200, 15)
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    schema = [Field(name=f"x_{number}", dtype=Float64) for number in range(FEATURES)]
    view = FeatureView(name="view", entities=[user], schema=schema)
    random = np.random.default_rng(3)
    keys = {"user_id": random.integers(0, KEYS, ROWS).tolist()}
    with tempfile.TemporaryDirectory() as folder:
        with FeatureStore.init(Path(folder), project="bench") as store:
            store.apply([FeatureService(name="all", features=[view])])
            instant = pa.repeat(pa.scalar(datetime(2024, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC")), KEYS)
            columns = {one.name: random.standard_normal(KEYS) for one in schema}
            store.ingest("view", pa.table({"user_id": np.arange(KEYS), "event_timestamp": instant, **columns}))
            store.materialize("view")
            rows = _in_process(store, keys, calls, pairs)
        with _server(folder) as address:
            return rows + _over_the_wire(address, keys, calls, pairs)


def _request(keys: dict[str, list[int]]) -> bytes:
    request = pb.GetOnlineFeaturesRequest(service="all")
    request.columns.add(name="user_id").int64s.values.extend(keys["user_id"])
    return request.SerializeToString()


def _in_process(store: FeatureStore, keys: dict[str, list[int]], calls: int, pairs: int) -> list[Row]:
    client, request = store.client(), _request(keys)
    transport = client._transport
    assert transport is not None
    schema, data = ServiceSchema(client.get_schema("all")), transport("GetOnlineFeatures", request)

    def answer() -> OnlineFeatures:
        return OnlineFeatures(Head(data), schema)

    def bytes_alone() -> object:
        return transport("GetOnlineFeatures", request)

    def numbers() -> object:
        return answer().to_numpy()

    whole = _compared(
        "100 x 50 in process, to NumPy; its bytes alone",
        lambda: client.get_online_features("all", keys).to_numpy(),
        bytes_alone,
        calls,
        pairs,
    )
    mixed = {"user_id": [key if place % 3 else -1 for place, key in enumerate(keys["user_id"])]}
    return [
        Row(work="100 x 50 in process, to NumPy; what it may take", ours=whole.ours, floor=GOAL, unit="ms", goal=1.0),
        whole,
        _compared(
            "the same, a third of the keys unknown; its bytes alone",
            lambda: client.get_online_features("all", mixed).to_numpy(),
            bytes_alone,
            calls,
            pairs,
        ),
        _compared(
            "read 100 x 50 to NumPy; a copy of the numbers",
            numbers,
            lambda: np.frombuffer(data, "<f8", ROWS * FEATURES).copy(),
            calls,
            pairs,
        ),
        _compared("read 100 x 50 to Arrow; to NumPy", lambda: answer().to_arrow(), numbers, calls, pairs),
        _compared("read 100 x 50 to Python values; to NumPy", lambda: answer().to_dict(), numbers, calls // 10, pairs),
    ]


def _over_the_wire(address: str, keys: dict[str, list[int]], calls: int, pairs: int) -> list[Row]:
    request = _request(keys)
    with FeatureClient(address) as client, grpc.insecure_channel(address) as channel:
        bare = channel.unary_unary(METHOD)
        wire = _compared(
            "100 x 50 over the wire, to NumPy; a bare call",
            lambda: client.get_online_features("all", keys).to_numpy(),
            lambda: bare(request),
            calls,
            pairs,
            waits=True,
        )
    return [wire, asyncio.run(_streamed(address, calls, pairs))]


async def _streamed(address: str, calls: int, pairs: int) -> Row:
    """Measure many coroutines that ask over one stream, and by calls of their own."""
    loop = asyncio.get_running_loop()
    async with AsyncFeatureClient(address, connections=1) as client, client.stream() as stream:
        seconds: tuple[list[float], list[float]] = ([], [])
        for number in range(pairs + 1):
            for place, one in enumerate((stream, client)):

                async def ask(one: object = one) -> None:
                    for key in range(calls // 4):
                        await one.get_online_features("all", {"user_id": [key]})  # type: ignore[attr-defined]

                started = loop.time()
                await asyncio.gather(*(ask() for _ in range(COROUTINES)))
                if number:  # the first pair warms up
                    seconds[place].append(loop.time() - started)
    lookups = COROUTINES * (calls // 4)
    ours, floor = (lookups / statistics.median(one) for one in seconds)
    work = f"1 x 50, {COROUTINES} coroutines, over a stream; as calls"
    return Row(work=work, ours=ours, floor=floor, unit="lookups/s", more_is_better=True)


def _compared(work: str, ours: Work, floor: Work, calls: int, pairs: int, *, waits: bool = False) -> Row:
    """Return milliseconds a call: of the processor where nothing is waited for, which other programs disturb less."""
    clock = time.perf_counter if waits else time.process_time
    measured: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs + 1):
        for place, one in enumerate((ours, floor)):
            started = clock()
            for _ in range(calls):
                one()
            if number:  # the first pair warms up
                measured[place].append(1000 * (clock() - started) / calls)
    return Row(work=work, ours=statistics.median(measured[0]), floor=statistics.median(measured[1]), unit="ms")


@contextmanager
def _server(folder: str) -> Iterator[str]:
    settings = Path(folder) / "featurestore.toml"
    settings.write_text(settings.read_text().replace("[serving]", "[serving]\nlog_sample = 0.0"))
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        process.communicate(timeout=30)
