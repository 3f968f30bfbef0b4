"""What does the server cost beside a bare grpcio handler that returns the same bytes, on one core?

Both are asked in turn by the same load: several processes of ``h2load`` (Debian's nghttp2-client), each with a body of
its own, on the same connections. The store has 100,000 keys.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.harness import Row
from benchmarks.serving_load import (
    KEYS,
    REQUEST_ID,
    Load,
    Server,
    answer_of,
    bare,
    cpu_for_new_keys,
    framed,
    load,
    ours,
    request,
)
from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Float64, Int64
from featurestore.v1 import serving_pb2 as pb

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
_PROCESSES = 4
_MESSAGES = 500


@dataclass(frozen=True)
class _Scale:
    requests: int
    pairs: int
    seconds: float
    goals: bool


@dataclass(frozen=True)
class _Case:
    """A store, what is asked of it, and the right answer."""

    folder: Path
    rows: int
    requests: list[bytes]
    bodies: list[bytes]
    answer: bytes
    id_digits: int = len(REQUEST_ID)

    @property
    def answer_bytes(self) -> int:
        return len(self.answer) + 5 + self.id_digits - len(REQUEST_ID)


def run(*, quick: bool) -> list[Row]:
    """Measure unary calls, streams, the log's cost and a second worker."""
    if shutil.which("h2load") is None:
        print("serving: h2load is not installed (apt-get install nghttp2-client); nothing was measured")
        return []
    scale = _Scale(500, 1, 1.0, goals=False) if quick else _Scale(5_000, 9, 6.0, goals=True)
    with tempfile.TemporaryDirectory() as name:
        three = _case(Path(name) / "three", [_view("first", 17), _view("second", 17), _view("third", 16)], rows=1)
        whole = _case(Path(name) / "whole", [_view("whole", 50)], rows=100)
        return [
            *_unary(three, "1 row x 50 features, 3 views", scale, goal=0.90),
            *_unary(whole, "100 rows x 50 features, 1 view", scale, goal=0.60),
            _latency(three, scale),
            *_stream(three, scale),
            *_log(three, scale),
            _workers(three, scale),
            *(_new_keys(one, scale) for one in (three, whole)),
        ]


def _view(name: str, features: int) -> FeatureView:
    fields = [Field(name=f"{name}_{index}", dtype=Float64) for index in range(features)]
    return FeatureView(name=name, entities=[USER], schema=fields)


def _case(folder: Path, views: list[FeatureView], *, rows: int) -> _Case:
    random = np.random.default_rng(3)
    with FeatureStore.init(folder, project="bench") as store:
        store.apply([FeatureService(name="all", features=views)])
        instant = pa.repeat(pa.scalar(datetime(2024, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC")), KEYS)
        for view in views:
            columns = {one.name: random.standard_normal(KEYS) for one in view.schema}
            store.ingest(view.name, pa.table({"user_id": np.arange(KEYS), "event_timestamp": instant, **columns}))
            store.materialize(view.name)
        asked = [request(random, rows).SerializeToString() for _ in range(_PROCESSES)]
        answer = answer_of(store, asked[0])
    return _Case(folder, rows, asked, [framed([one]) for one in asked], answer)


def _in_turn(measure: Sequence[Callable[[], float]], pairs: int) -> list[float]:
    """Return the median of each measure, taken in turn after one round that warms up."""
    found: list[list[float]] = [[] for _ in measure]
    for number in range(pairs + 1):
        for place, one in enumerate(measure):
            figure = one()
            if number:
                found[place].append(figure)
    return [statistics.median(one) for one in found]


def _asked(
    server: Server, case: _Case, requests: int, *, rate: int = 0, latencies: bool = False, deadline: str = ""
) -> Load:
    each = max(1, requests // len(case.bodies) // (1 if case.rows == 1 else 5))
    return load(
        server.address,
        case.bodies,
        requests=each,
        answer_bytes=case.answer_bytes,
        rate=rate,
        latencies=latencies,
        deadline=deadline,
    )


def _row(work: str, figures: tuple[float, float], unit: str, goal: float | None, *, more: bool = True) -> Row:
    return Row(work=work, ours=figures[0], floor=figures[1], unit=unit, goal=goal, more_is_better=more)


def _unary(case: _Case, work: str, scale: _Scale, *, goal: float) -> list[Row]:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(one)
            for one in (
                ours(case.folder),
                ours(case.folder, cache=False),
                bare(case.answer),
                bare(case.answer, loop="uvloop"),
            )
        ]
        kept, read, floor, faster = _in_turn(
            [lambda server=server: _asked(server, case, scale.requests).rate for server in servers],  # type: ignore[misc]
            scale.pairs,
        )
    return [
        _row(work, (kept, floor), "requests/s", goal if scale.goals else None),
        _row(f"{work}, no row cache", (read, floor), "requests/s", None),
        _row(f"{work}, floor on uvloop", (kept, faster), "requests/s", None),
    ]


def _latency(case: _Case, scale: _Scale) -> Row:
    with ours(case.folder) as kept, bare(case.answer) as floor:
        half = int(_in_turn([lambda: _asked(kept, case, scale.requests).rate], 1)[0] / 2)

        def p99(server: Server) -> float:
            found = _asked(server, case, scale.requests, rate=half, latencies=True).latencies
            return float(np.quantile(found, 0.99)) / 1e3

        figures = _in_turn([lambda: p99(kept), lambda: p99(floor)], scale.pairs)
    goal = 1.3 if scale.goals else None
    return _row(f"p99 at half load ({half:,} requests/s)", (figures[0], figures[1]), "ms", goal, more=False)


def _streamed(case: _Case) -> tuple[bytes, bytes]:
    """Return a message of a stream, and the answer to it."""
    unary = pb.GetOnlineFeaturesRequest.FromString(case.requests[0])
    one = pb.StreamOnlineFeaturesRequest(correlation_id=7, request=unary).SerializeToString()
    answer = pb.GetOnlineFeaturesResponse.FromString(case.answer)
    return one, pb.StreamOnlineFeaturesResponse(correlation_id=7, response=answer).SerializeToString()


def _messages(server: Server, case: _Case, requests: int) -> float:
    """Return the messages a second that a server answers over streams."""
    one, answer = _streamed(case)
    done = load(
        server.address,
        [framed([one] * _MESSAGES)] * _PROCESSES,
        requests=max(2, requests // _MESSAGES),
        answer_bytes=(len(answer) + 5) * _MESSAGES,
        method="StreamOnlineFeatures",
    )
    return done.rate * _MESSAGES


def _stream(case: _Case, scale: _Scale) -> list[Row]:
    _, answer = _streamed(case)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(one)
            for one in (ours(case.folder), bare(answer, stream=True), bare(answer, stream=True, loop="uvloop"))
        ]
        kept, floor, faster = _in_turn(
            [lambda server=server: _messages(server, case, scale.requests) for server in servers],  # type: ignore[misc]
            scale.pairs,
        )
    return [
        _row("stream of 1-row requests", (kept, floor), "messages/s", 0.85 if scale.goals else None),
        _row("stream of 1-row requests, floor on uvloop", (kept, faster), "messages/s", None),
    ]


def _log(case: _Case, scale: _Scale) -> list[Row]:
    # By the id it is decided whether a request is logged: with one id for all it would be all of them, or none. Without
    # one the server draws an id for each, of 32 digits.
    case = replace(case, bodies=[framed([_without_id(one)]) for one in case.requests], id_digits=32)
    with ours(case.folder, sample=0.1) as tenth, ours(case.folder, sample=1.0) as all_, ours(case.folder) as none:
        rates = _in_turn(
            [lambda server=server: _asked(server, case, scale.requests).rate for server in (tenth, all_, none)],  # type: ignore[misc]
            scale.pairs,
        )
    return [
        _row("log of 10 %; no log", (rates[0], rates[2]), "requests/s", 0.97 if scale.goals else None),
        _row("log of all; no log", (rates[1], rates[2]), "requests/s", None),
    ]


def _without_id(request: bytes) -> bytes:
    asked = pb.GetOnlineFeaturesRequest.FromString(request)
    asked.ClearField("request_id")
    return asked.SerializeToString()


def _workers(case: _Case, scale: _Scale) -> Row:
    with ours(case.folder, workers=2) as two, ours(case.folder) as one:
        rates = _in_turn(
            [lambda server=server: _asked(server, case, scale.requests).rate for server in (two, one)],  # type: ignore[misc]
            scale.pairs,
        )
    return _row("two workers; one (load on the same two cores)", (rates[0], rates[1]), "requests/s", None)


def _new_keys(case: _Case, scale: _Scale) -> Row:
    with ours(case.folder) as kept, bare(case.answer) as floor:
        figures = _in_turn(
            [
                lambda server=server: cpu_for_new_keys(server, case.rows, seconds=scale.seconds)  # type: ignore[misc]
                for server in (kept, floor)
            ],
            max(1, scale.pairs // 2),
        )
    work = f"processor's time of a request, {case.rows} row{'s' * (case.rows > 1)}, keys drawn anew"
    return _row(work, (figures[0], figures[1]), "us", None, more=False)
