"""What does the online store on Redis cost, beside LMDB? ``python -m benchmarks scale redis``.

One Redis on loopback, without persistence, on the same cores as the server and the load: what it takes of the processor
is missing to both. Lookups are asked as ``benchmarks serving`` asks them, of both servers in turn; the keys of a
request stay the same, so LMDB answers from the rows that its worker knows, and Redis reads each time.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.harness import Row
from benchmarks.serving import _PROCESSES, _asked, _Case, _in_turn, _messages, _row, _Scale, _view
from benchmarks.serving_load import KEYS, Server, answer_of, bare, framed, ours, request
from featurestore import FeatureService, FeatureStore, FeatureView

_MATERIALIZED = 300_000


def run(*, quick: bool) -> list[Row]:
    """Measure lookups of 1 and of 100 rows, and a materialization."""
    for program, package in (("h2load", "nghttp2-client"), ("redis-server", "redis-server")):
        if shutil.which(program) is None:
            print(f"scale: {program} is not installed (apt-get install {package}); nothing was measured")
            return []
    scale = _Scale(500, 1, 1.0, goals=False) if quick else _Scale(5_000, 5, 6.0, goals=True)
    three = [_view("first", 17), _view("second", 17), _view("third", 16)]
    with tempfile.TemporaryDirectory() as name, redis(Path(name)) as address:
        here = Path(name)
        few = [_case(here / kind, three, address if kind == "few" else "", rows=1) for kind in ("few", "few-lmdb")]
        many = _case(here / "many", [_view("whole", 50)], address, rows=100)
        return [*_few(few, scale), _many(many, scale), _materialize(here, address, scale)]


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis while the block runs, and yield its address."""
    port = 17_379
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _store(folder: Path, address: str) -> FeatureStore:
    FeatureStore.init(folder, project="bench").close()
    if address:
        file = folder / "featurestore.toml"
        text = file.read_text().replace('online = "lmdb://data/online"\n', "")
        section = f'[online]\ntype = "redis"\naddresses = ["{address}"]\nprefix = "{folder.name}"\n'
        file.write_text(f"{text}\n{section}")
    return FeatureStore(folder)


def _rows(view: FeatureView, count: int) -> pa.Table:
    random = np.random.default_rng(3)
    instant = pa.repeat(pa.scalar(datetime(2024, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC")), count)
    columns = {one.name: random.standard_normal(count) for one in view.schema}
    return pa.table({"user_id": np.arange(count), "event_timestamp": instant, **columns})


def _case(folder: Path, views: list[FeatureView], address: str, *, rows: int) -> _Case:
    random = np.random.default_rng(3)
    with _store(folder, address) as store:
        store.apply([FeatureService(name="all", features=views)])
        for view in views:
            store.ingest(view.name, _rows(view, KEYS))
            store.materialize(view.name)
        asked = [request(random, rows).SerializeToString() for _ in range(_PROCESSES)]
        answer = answer_of(store, asked[0])
    return _Case(folder, rows, asked, [framed([one]) for one in asked], answer)


def _few(cases: list[_Case], scale: _Scale) -> list[Row]:
    with ExitStack() as stack:
        servers = [stack.enter_context(ours(case.folder)) for case in cases]
        uncached = stack.enter_context(ours(cases[1].folder, cache=False))
        floor = stack.enter_context(bare(cases[0].answer))

        def rates(*asked: Server, deadline: str = "") -> list[float]:
            measure = [partial(_rate, server, cases[0], scale.requests, deadline) for server in asked]
            return _in_turn(measure, scale.pairs)

        on_redis, on_lmdb, read, nothing = rates(*servers, uncached, floor)
        late = rates(*servers, deadline="500m")
        streams = _in_turn([partial(_messages, server, cases[0], scale.requests) for server in servers], scale.pairs)
    work = "1 row x 50 features, 3 views"
    return [
        _row(f"{work}: Redis; LMDB", (on_redis, on_lmdb), "requests/s", 0.7 if scale.goals else None),
        _row(f"{work}: Redis; LMDB, no row cache", (on_redis, read), "requests/s", None),
        _row(f"{work}: Redis; bare handler", (on_redis, nothing), "requests/s", None),
        _row(f"{work}, within 500 ms: Redis; LMDB", (late[0], late[1]), "requests/s", None),
        _row("stream of 1-row requests: Redis; LMDB", (streams[0], streams[1]), "messages/s", None),
    ]


def _rate(server: Server, case: _Case, requests: int, deadline: str) -> float:
    return _asked(server, case, requests, deadline=deadline).rate


def _many(case: _Case, scale: _Scale) -> Row:
    with ours(case.folder) as kept, bare(case.answer) as floor:
        figures = _in_turn(
            [lambda one=one: _asked(one, case, scale.requests).rate for one in (kept, floor)],  # type: ignore[misc]
            scale.pairs,
        )
    work = "100 rows x 50 features, 1 view: Redis; bare handler"
    return _row(work, (figures[0], figures[1]), "requests/s", 0.5 if scale.goals else None)


def _materialize(here: Path, address: str, scale: _Scale) -> Row:
    """Return rows a second from a table to Redis, and to LMDB."""
    count = _MATERIALIZED if scale.goals else _MATERIALIZED // 10
    view = _view("whole", 50)
    rates = []
    for kind, where in (("filled", address), ("filled-lmdb", "")):
        with _store(here / kind, where) as store:
            store.apply([FeatureService(name="all", features=[view])])
            store.ingest(view.name, _rows(view, count))
            began = time.perf_counter()
            assert store.materialize(view.name).written == count
            rates.append(count / (time.perf_counter() - began))
    floor = 60_000.0
    print(f"scale: {count:,} rows x 50 features materialized into LMDB: {rates[1]:,.0f} rows/s")
    goal = 1.0 if scale.goals else None
    return _row(f"materialize {count:,} x 50 into Redis; what is asked for", (rates[0], floor), "rows/s", goal)
