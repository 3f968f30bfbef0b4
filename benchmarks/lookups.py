"""How many lookups a second does one server process answer, beside a bare grpcio handler that returns the same bytes?

Both are asked by ``h2load`` (Debian's nghttp2-client) in turn, with the same connections and the same request.
"""

from __future__ import annotations

import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.harness import Row
from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Float64, Int64
from featurestore.v1 import serving_pb2 as pb

KEYS = 100_000
METHOD = "/featurestore.v1.ServingService/GetOnlineFeatures"
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])

BARE = """
import asyncio, sys
import grpc

async def main():
    body = open(sys.argv[1], "rb").read()
    async def answer(request, context):
        return body
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        "featurestore.v1.ServingService", {"GetOnlineFeatures": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"bare at 127.0.0.1:{port}, ", flush=True)
    await server.wait_for_termination()

asyncio.run(main())
"""


def run(*, quick: bool) -> list[Row]:
    """Look up one row of three views, and a hundred rows of one."""
    if shutil.which("h2load") is None:
        print("lookups: h2load is not installed (apt-get install nghttp2-client); nothing was measured")
        return []
    requests, pairs = (2_000, 2) if quick else (10_000, 5)
    three = [_view("first", 17), _view("second", 17), _view("third", 16)]
    one = [_view("whole", 50)]
    with tempfile.TemporaryDirectory() as folder:
        return [
            _measure(Path(folder) / "three", three, rows=1, requests=requests, pairs=pairs),
            _measure(Path(folder) / "one", one, rows=100, requests=requests // 5, pairs=pairs),
        ]


def _view(name: str, features: int) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[USER],
        schema=[Field(name=f"{name}_{index}", dtype=Float64) for index in range(features)],
    )


def _measure(folder: Path, views: list[FeatureView], *, rows: int, requests: int, pairs: int) -> Row:
    random = np.random.default_rng(3)
    with FeatureStore.init(folder, project="bench") as store:
        store.apply([FeatureService(name="all", features=views)])
        instant = pa.repeat(pa.scalar(datetime(2024, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC")), KEYS)
        for view in views:
            columns = {one.name: random.standard_normal(KEYS) for one in view.schema}
            store.ingest(view.name, pa.table({"user_id": np.arange(KEYS), "event_timestamp": instant, **columns}))
            store.materialize(view.name)
        request = pb.GetOnlineFeaturesRequest(service="all", request_id="0123456789abcdef")
        request.columns.add(name="user_id").int64s.values.extend(random.integers(0, KEYS, rows).tolist())
        transport = store.client()._transport
        answer = transport("GetOnlineFeatures", request.SerializeToString())
    message = request.SerializeToString()
    body, same = folder / "request", folder / "answer"
    body.write_bytes(b"\x00" + struct.pack(">I", len(message)) + message)
    same.write_bytes(answer)
    serve = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder)]
    # What the log costs is a question of its own; the default here is none.
    settings = folder / "featurestore.toml"
    settings.write_text(settings.read_text().replace("[serving]", "[serving]\nlog_sample = 0.0"))
    with _process(serve) as ours, _process([sys.executable, "-c", BARE, str(same)]) as bare:
        rates: tuple[list[float], list[float]] = ([], [])
        for number in range(pairs + 1):
            for place, address in enumerate((ours, bare)):
                rate = _load(address, body, requests)
                if number:  # the first pair warms up
                    rates[place].append(rate)
    views_text = f"{len(views)} view{'s' * (len(views) > 1)}"
    return Row(
        work=f"{rows} row{'s' * (rows > 1)} x 50 features, {views_text}, unary, no log",
        ours=statistics.median(rates[0]),
        floor=statistics.median(rates[1]),
        unit="requests/s",
        more_is_better=True,
    )


@contextmanager
def _process(command: list[str]) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _load(address: str, body: Path, requests: int) -> float:
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    connections = ["-c", "4", "-m", "4"]
    ran = subprocess.run(
        ["h2load", "-n", str(requests), *connections, "-d", str(body), *headers, f"http://{address}{METHOD}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    succeeded = re.search(rf"{requests} succeeded", ran)
    rate = re.search(r"([\d.]+) req/s", ran)
    if succeeded is None or rate is None:
        raise RuntimeError(f"h2load: {ran}")
    return float(rate.group(1))
