"""What does a registry of 10,000 views with 20 fields cost at plan, list and start, beside what nobody can do without?

The floors: reading the same rows with plain sqlite3 and ``json.loads``; writing the same definitions as JSON and
hashing them; and starting Python with the libraries of a server. The limits of seconds are rows of their own.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from benchmarks.harness import Row, in_turn
from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions import Definition
from featurestore.types import Float64, Int64

FIELDS = 20
LIBRARIES = "import grpc, duckdb, polars, pyarrow, deltalake, sqlalchemy, pydantic, typer"


def run(*, quick: bool) -> list[Row]:
    """Plan, list and serve registries with few services and with many."""
    views, pairs = (1_000, 1) if quick else (10_000, 3)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder) / "repo"
        store = FeatureStore.init(repo)
        with store:
            definitions = _definitions(views, services=10)

            def plan() -> object:
                return store.plan(definitions)

            def write() -> object:
                return [hashlib.sha256(json.dumps(one.spec()).encode()).digest() for one in definitions]

            new = in_turn(plan, write, pairs=pairs)
            started = time.perf_counter()
            store.apply(definitions)
            applied = time.perf_counter() - started
            file = str(store.registry._database.path)

            def read() -> object:
                with closing(sqlite3.connect(file)) as connection:
                    found = connection.execute("SELECT name, version, spec, notes, pins FROM versions")
                    return [(row[:2], [json.loads(text) for text in row[2:]]) for row in found]

            def names() -> object:
                with closing(sqlite3.connect(file)) as connection:
                    return connection.execute("SELECT name, version, content_hash FROM versions").fetchall()

            definitions = _definitions(views, services=10)  # as a new process would have them
            unchanged = in_turn(plan, read, pairs=pairs)
            listed = in_turn(store.registry.list, names, pairs=pairs)
            what = f"{views:,} views"
            rows += [
                Row(work=f"plan, all of {what} new; JSON and hashes", ours=new[0], floor=new[1], unit="s"),
                Row(work=f"plan, {what} unchanged; reading them", ours=unchanged[0], floor=unchanged[1], unit="s"),
                Row(work=f"list {what}; reading their names", ours=listed[0], floor=listed[1], unit="s"),
                Row(work=f"apply, all of {what} new; JSON and hashes", ours=applied, floor=new[1], unit="s"),
            ]
            starts = [("10 services", *_start(repo, pairs))]
            store.apply(_definitions(views, services=views // 10))
            starts.append((f"{views // 10:,} services", *_start(repo, pairs)))
        rows += [
            Row(work=f"start of a server, {what}, {services}; its libraries", ours=ours, floor=floor, unit="s")
            for services, ours, floor in starts
        ]
    if not quick:
        within = [("plan, all new", new[0], 3.0), ("plan, all unchanged", unchanged[0], 3.0), ("list", listed[0], 1.0)]
        within += [(f"start of a server, {services}", ours, 3.0) for services, ours, _ in starts]
        rows += [
            Row(work=f"{work}; the {limit:g} s that it may take", ours=ours, floor=limit, unit="s", goal=1.0)
            for work, ours, limit in within
        ]
    return rows


def _definitions(count: int, *, services: int) -> Sequence[Definition]:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    views = [
        FeatureView(
            name=f"view{number:05}",
            entities=[user],
            ttl=timedelta(hours=3),
            description="Made for the measurement.",
            schema=[
                Field(name=f"v{number}f{index}", dtype=Float64, ge=-80, le=140, description="one of twenty")
                for index in range(FIELDS)
            ],
        )
        for number in range(count)
    ]
    pairs = [[views[number * 7 % count], views[(number * 7 + 3) % count]] for number in range(services)]
    return [*views, *(FeatureService(name=f"service{number:04}", features=pair) for number, pair in enumerate(pairs))]


def _start(repo: Path, pairs: int) -> tuple[float, float]:
    """Return the median seconds until a server answers, and until Python has its libraries."""
    measured: tuple[list[float], list[float]] = ([], [])
    serve = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--workers", "1", "--repo", str(repo)]
    for number in range(pairs + 1):
        started = time.perf_counter()
        server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        line = server.stdout.readline()
        ready = time.perf_counter() - started
        server.terminate()
        server.communicate(timeout=30)
        if " at " not in line:
            raise RuntimeError("the server did not start")
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
        if number:  # the first of both warms up
            measured[0].append(ready)
            measured[1].append(time.perf_counter() - started)
    return statistics.median(measured[0]), statistics.median(measured[1])
