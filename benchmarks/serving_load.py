"""Servers and load for ``benchmarks serving``: ours, a bare handler of grpcio that returns the same bytes, ``h2load``.

``python -m benchmarks.serving_load bare|stream FILE LOOP`` is the bare server; ``... keys ADDRESS ROWS SECONDS`` asks a
server with keys that are drawn anew for each request, and prints how many it answered.
"""

from __future__ import annotations

import asyncio
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop

from featurestore import FeatureStore
from featurestore.v1 import serving_pb2 as pb

SERVICE = "featurestore.v1.ServingService"
KEYS = 100_000
REQUEST_ID = "0123456789abcdef"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server process: where it listens, and the process of its worker."""

    address: str
    process: psutil.Process

    def cpu(self) -> float:
        """Return the seconds of processor that it and its children have used."""
        times = [one.cpu_times() for one in (self.process, *self.process.children())]
        return float(sum(one.user + one.system for one in times))


@contextmanager
def started(command: Sequence[str]) -> Iterator[Server]:
    """Run a server while the block runs; its first line says ``... at HOST:PORT, ...``."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[1].split(",")[0]
        yield Server(address=address, process=psutil.Process(process.pid))
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def ours(folder: Path, *, cache: bool = True, sample: float = 0.0, workers: int = 1) -> Iterator[Server]:
    """Run our server on a store's folder."""
    settings = folder / "featurestore.toml"
    text = re.sub(r"(?ms)^\[serving\].*?(?=^\[|\Z)", "", settings.read_text())
    mine = f"log_sample = {sample}\n" + ("" if cache else "row_cache_mb = 0\n")
    settings.write_text(f"{text}\n[serving]\n{mine}")
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder)]
    with started([*command, "--workers", str(workers)]) as server:
        yield server


@contextmanager
def bare(answer: bytes, *, stream: bool = False, loop: str = "asyncio") -> Iterator[Server]:
    """Run the floor: a handler of grpc.aio that does nothing but return these bytes; on asyncio's loop or uvloop's."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(answer)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.serving_load", "stream" if stream else "bare", file.name, loop]
        with started(command) as server:
            yield server


def request(random: np.random.Generator, rows: int) -> pb.GetOnlineFeaturesRequest:
    """Return a request for random keys."""
    made = pb.GetOnlineFeaturesRequest(service="all", request_id=REQUEST_ID)
    made.columns.add(name="user_id").int64s.values.extend(random.integers(0, KEYS, rows).tolist())
    return made


def answer_of(store: FeatureStore, asked: bytes) -> bytes:
    """Return what a server of a store answers to a request, without one."""
    transport = store.client()._transport
    assert transport is not None
    return transport("GetOnlineFeatures", asked)


def framed(messages: Sequence[bytes]) -> bytes:
    """Return messages as the body of a gRPC call."""
    return b"".join(b"\x00" + struct.pack(">I", len(one)) + one for one in messages)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What ``h2load`` measured.

    Attributes:
        rate: requests a second.
        latencies: of each request, in microseconds; empty unless they were asked for.
    """

    rate: float
    latencies: np.ndarray[Any, Any]


def load(
    address: str,
    bodies: Sequence[bytes],
    *,
    requests: int,
    answer_bytes: int,
    method: str = "GetOnlineFeatures",
    rate: int = 0,
    latencies: bool = False,
    deadline: str = "",
) -> Load:
    """Ask a server by one ``h2load`` process for each body, all at once; two connections each, two calls on each.

    Args:
        address: the server's.
        bodies: one for each process.
        requests: of each process.
        answer_bytes: length of the right answer's body: an error would be shorter.
        method: of the service.
        rate: requests a second of all processes together; 0 is as fast as they can.
        latencies: whether to keep each request's.
        deadline: of each call, as gRPC writes it: ``500m`` is 500 milliseconds.
    """
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        running = []
        for number, body in enumerate(bodies):
            file, log = Path(name) / f"body{number}", Path(name) / f"log{number}"
            file.write_bytes(body)
            command = ["h2load", "-n", str(requests), "-c", "2", "-m", "2", "-d", str(file)]
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
            command += ["-H", f"grpc-timeout: {deadline}"] if deadline else []
            command += [f"--rps={max(1, rate // len(bodies) // 2)}"] if rate else []
            command += [f"--log-file={log}"] if latencies else []
            command.append(f"http://{address}/{SERVICE}/{method}")
            running.append((stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)), log))
        total, found = 0.0, []
        for process, log in running:
            said, _ = process.communicate()
            succeeded = re.search(rf"{requests} succeeded", said)
            told = re.search(r"([\d.]+) req/s", said)
            data = re.search(r"\((\d+)\) data", said)
            if process.returncode or succeeded is None or told is None or data is None:
                raise RuntimeError(f"h2load: {said}")
            if int(data.group(1)) != requests * answer_bytes:
                raise RuntimeError(f"the answers have {data.group(1)} bytes, not {requests} x {answer_bytes}")
            total += float(told.group(1))
            if latencies:
                found.append(np.loadtxt(log, usecols=2))
        return Load(rate=total, latencies=np.concatenate(found) if found else np.empty(0))


def cpu_for_new_keys(server: Server, rows: int, *, seconds: float) -> float:
    """Return the processor's microseconds that a server needs for a request whose keys are drawn anew."""
    command = [sys.executable, "-m", "benchmarks.serving_load", "keys", server.address, str(rows), str(seconds)]
    before = server.cpu()
    asked = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return (server.cpu() - before) / asked * 1e6


async def _serve_bare(body: bytes, *, stream: bool) -> None:
    import grpc

    async def answer(_request: bytes, _context: Any) -> bytes:
        return body

    async def answers(_: Any, context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(body)

    handler = (
        {"StreamOnlineFeatures": grpc.stream_stream_rpc_method_handler(answers)}
        if stream
        else {"GetOnlineFeatures": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handler),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"bare at 127.0.0.1:{port}, ", flush=True)
    await server.wait_for_termination()


async def _ask(address: str, rows: int, seconds: float) -> int:
    import grpc

    random = np.random.default_rng()
    bodies = [request(random, rows).SerializeToString() for _ in range(20_000 if rows == 1 else 2_000)]
    asked, until = 0, time.monotonic() + seconds

    async def ask(first: int) -> None:
        nonlocal asked
        place = first
        while time.monotonic() < until:
            await call(bodies[place % len(bodies)])
            place += 4
            asked += 1

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/GetOnlineFeatures")
        await asyncio.gather(*(ask(first) for first in range(4)))
    return asked


def main() -> None:
    """Do what the command line says."""
    what, *rest = sys.argv[1:]
    if what == "keys":
        print(asyncio.run(_ask(rest[0], int(rest[1]), float(rest[2]))))
    else:
        factory = uvloop.new_event_loop if rest[1] == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_serve_bare(Path(rest[0]).read_bytes(), stream=what == "stream"))


if __name__ == "__main__":
    main()
