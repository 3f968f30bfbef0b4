"""How many pushes a second does a store take, beside a file to which the same bytes are appended and synced?

The floor is one thread that appends and syncs, push by push: what durability costs who promises it. Callers that wait
together share one sync, so several may pass it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from benchmarks.harness import Row
from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.pushing.segments import Entry, body_of, frame_of
from featurestore.types import Float64, Int64

FEATURES = 10
VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name=f"f{number}", dtype=Float64) for number in range(FEATURES)],
)


def run(*, quick: bool) -> list[Row]:
    """Push 1 and 100 rows at once, from 1 and from 16 threads."""
    pushes, pairs = (64, 1) if quick else (480, 5)
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "store" / "featurestore.toml"
        with FeatureStore.init(Path(folder) / "store", project="bench") as store:
            store.apply([VIEW, FeatureService(name="all", features=[VIEW])])
        # Flushes are loads, which benchmarks.ingest measures.
        settings.write_text(settings.read_text() + "\n[push]\nflush_rows = 1_000_000_000\nflush_seconds = 1e6\n")
        store = FeatureStore(Path(folder) / "store")
        found = [
            _measure(store, Path(folder) / "floor", rows, callers, pushes, pairs)
            for rows in (1, 100)
            for callers in (1, 16)
        ]
        store._pusher.flusher._end()
        return found


def _measure(store: FeatureStore, floor: Path, rows: int, callers: int, pushes: int, pairs: int) -> Row:
    batch = _batch(rows)
    entry = Entry(view="clicks", version=1, only=False, at=0, first=0, rows=rows, body=body_of(batch))
    frame = frame_of([entry])

    def push(times: int) -> None:
        for _ in range(times):
            store.push("clicks", batch)

    def append(times: int) -> None:
        with floor.open("ab", buffering=0) as file:
            for _ in range(times):
                file.write(frame)
                os.fsync(file.fileno())

    rates: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs + 1):
        for place, (work, threads) in enumerate(((push, callers), (append, 1))):
            rate = pushes / _seconds(work, threads, pushes // threads)
            if number:  # the first pair warms up
                rates[place].append(rate)
    who = "1 caller" if callers == 1 else f"{callers} callers"
    return Row(
        work=f"{rows} row{'s' * (rows > 1)} x {FEATURES} features, {who}; append and fsync",
        ours=statistics.median(rates[0]),
        floor=statistics.median(rates[1]),
        unit="pushes/s",
        more_is_better=True,
    )


def _batch(rows: int) -> pa.RecordBatch:
    at = pa.array([datetime.now(UTC)] * rows, pa.timestamp("us", "UTC"))
    columns = {f"f{number}": pa.array([float(number)] * rows) for number in range(FEATURES)}
    return pa.RecordBatch.from_pydict({"user_id": pa.array(range(rows)), "event_timestamp": at, **columns})


def _seconds(work: Callable[[int], None], threads: int, times: int) -> float:
    started = time.perf_counter()
    running = [threading.Thread(target=work, args=(times,)) for _ in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return time.perf_counter() - started
