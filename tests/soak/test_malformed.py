"""Malformed requests, for long: a million inside, ten thousand over the wire, and atheris where it is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import runpy
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import grpc
import psutil
import pytest

from featurestore.serving.log import ServingLog
from featurestore.serving.rpc.server import FeatureServer, Limits, Methods

SHORT = runpy.run_path(str(Path(__file__).parents[1] / "featurestore" / "serving" / "rpc" / "test_malformed.py"))
PROGRAM = Path(__file__).parent / "programs" / "malformed_requests.py"
INSIDE = int(os.environ.get("MALFORMED_REQUESTS", "1000000"))
OVER_THE_WIRE = INSIDE // 100
#: Bytes that a server may have grown by over all of them: allocators keep some.
GROWTH = 32 << 20


def damaged(chosen: random.Random, path: str, seeds: list[bytes]) -> bytes:
    """Return bytes that somebody might send: noise, strange values, what is right with faults in it, halves of two."""
    kind = chosen.random()
    if path == SHORT["LOOKUP"] and kind > 0.5:
        odd: bytes = SHORT["strange"](chosen).SerializeToString()
        return odd
    if kind < 0.1:
        return chosen.randbytes(chosen.randrange(80))
    data = chosen.choice(seeds)
    if kind < 0.2:
        other = chosen.choice(seeds)
        data = data[: chosen.randrange(len(data) + 1)] + other[chosen.randrange(len(other) + 1) :]
    found: bytes = SHORT["damaged"](chosen, data)
    return found


@pytest.mark.soak
def test_a_million_malformed_requests_end_with_statuses_that_are_meant(tmp_path: Path) -> None:
    lookups = SHORT["services"]()
    paths = [path for path in SHORT["TAKES"] if path != SHORT["HEALTH"]]
    seeds = {path: SHORT["right"](path) for path in paths}
    memory: list[int] = []
    codes: Counter[str] = Counter()

    async def run() -> None:
        log = ServingLog(tmp_path, now=0, sample=0.0, replay=True)
        server = FeatureServer(lookups, log, Methods(advance=lambda _: 0))
        chosen = random.Random(1)
        for number in range(INSIDE):
            path = paths[0] if number % 2 else chosen.choice(paths)
            data = damaged(chosen, path, seeds[path])
            code = await SHORT["check_inside"](server, path, data)
            codes[f"{path.rpartition('/')[2]} {code.name}"] += 1
            if number % 4 == 1:
                SHORT["check_log"](lookups, data)
            if number in (INSIDE // 10, INSIDE - 1):
                memory.append(psutil.Process().memory_info().rss)
        assert server.gate.under_way == 0
        log.close(0)

    began = time.monotonic()
    asyncio.run(run())
    grown = memory[-1] - memory[0]
    sys.stdout.write(
        f"\n{INSIDE:,} requests in {time.monotonic() - began:.0f} s, memory {grown >> 10:+,} KiB: {dict(codes)}\n"
    )
    assert grown < GROWTH


@pytest.mark.soak
def test_ten_thousand_over_the_wire_leave_nothing_behind_and_others_are_answered(tmp_path: Path) -> None:
    paths = list(SHORT["TAKES"])
    seeds = {path: SHORT["right"](path) for path in paths}
    good = SHORT["lookup"]("typed").SerializeToString()
    codes: Counter[str] = Counter()
    memory: list[int] = []

    def flood(address: str) -> None:
        chosen = random.Random(2)
        with (
            grpc.insecure_channel(address) as channel,
            grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as other,
        ):
            for number in range(OVER_THE_WIRE):
                path = chosen.choice(paths)
                code = SHORT["check_over_the_wire"](channel, path, damaged(chosen, path, seeds[path]))
                codes[code.name] += 1
                if number % 10 == 0:
                    assert other.unary_unary(SHORT["LOOKUP"])(good, timeout=5)
                if number in (OVER_THE_WIRE // 10, OVER_THE_WIRE - 1):
                    memory.append(psutil.Process().memory_info().rss)

    async def run() -> None:
        log = ServingLog(tmp_path, now=0, sample=0.0, replay=True)
        server = FeatureServer(SHORT["services"](), log, Methods(advance=lambda _: 0), limits=Limits(calls=100))
        port = await server.start("127.0.0.1:0")
        await asyncio.to_thread(flood, f"127.0.0.1:{port}")
        await asyncio.sleep(1)
        assert server.gate.under_way == 0
        await server.stop(1)
        log.close(0)

    asyncio.run(run())
    sys.stdout.write(
        f"\n{OVER_THE_WIRE:,} over the wire, memory {(memory[-1] - memory[0]) >> 10:+,} KiB: {dict(codes)}\n"
    )
    assert memory[-1] - memory[0] < GROWTH


@pytest.mark.soak
def test_a_fuzzer_that_is_led_by_coverage_finds_nothing_either(
    tmp_path: Path, lacking: Callable[[str], NoReturn]
) -> None:
    if importlib.util.find_spec("atheris") is None:
        lacking("needs atheris: pip install atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, path in enumerate(SHORT["TAKES"]):
        for place, data in enumerate(SHORT["right"](path)):
            (corpus / f"{number}-{place}").write_bytes(bytes([number]) + data)
    command = [sys.executable, str(PROGRAM), str(corpus), f"-runs={INSIDE // 10}", "-max_len=600", "-seed=3"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-4000:]
    sys.stdout.write("\n" + "\n".join(ran.stderr.splitlines()[-3:]) + "\n")
