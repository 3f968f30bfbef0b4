"""How fast do rows of 50 features get from Parquet into LMDB, beside LMDB that is given the same bytes in order?"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa

from benchmarks.harness import Row
from featurestore import Entity, FeatureStore, FeatureView, Field
from featurestore.definitions import storage_id
from featurestore.online import LmdbStore
from featurestore.types import Float64, Int64

FEATURES = 50
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1e6)
VIEW = FeatureView(
    name="wide",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name=f"f{number}", dtype=Float64) for number in range(FEATURES)],
)
_BATCH = 100_000
#: The transactions of the floor are as large as ours, and on disk when they return as ours are.
_CHUNK = 20_000
#: Under which the peaks are compared: both amounts of rows are larger, so that both wait on the disk.
_MEMORY = "400MB"


def run(*, quick: bool) -> list[Row]:
    """Materialize rows in no order, each of another key, into a new store; each run is a process of its own.

    The floor reads no Parquet and encodes nothing: it has keys and values in memory, in order, and puts them.
    """
    rows, pairs = (50_000, 1) if quick else (1_000_000, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder / "small", rows)
        found: dict[str, list[float]] = {"ours": [], "floor": [], "again": []}
        for _ in range(pairs):
            for side, rates in found.items():
                rates.append(rows / _in_a_process(side, folder / "small", rows)[0] / 1e3)
        ours, floor, again = (statistics.median(found[side]) for side in found)
        speed = [
            Row(work=work, ours=rate, floor=beside, unit="k rows/s", goal=goal, more_is_better=True)
            for work, rate, beside, goal in (
                (f"{rows:,} rows x {FEATURES} features to LMDB, beside puts in order", ours, floor, None),
                ("the same, beside the goal of 150,000 rows/s", ours, 150.0, None if quick else 1.0),
                ("the same in full once more, when all are online", again, ours, None),
            )
        ]
        _prepare(folder / "large", 4 * rows)
        for size in ("small", "large"):
            settings = folder / size / "featurestore.toml"
            settings.write_text(settings.read_text().replace("[offline]", f'[offline]\nmemory_limit = "{_MEMORY}"'))
        peaks = [
            _in_a_process("ours", folder / size, count)[1] for size, count in (("large", 4 * rows), ("small", rows))
        ]
    flat = Row(
        work=f"peak of own memory, {4 * rows:,} rows beside {rows:,} (limit {_MEMORY})",
        ours=peaks[0],
        floor=peaks[1],
        unit="MB",
        goal=None if quick else 1.15,
    )
    return [*speed, flat]


def _prepare(folder: Path, rows: int) -> None:
    chance = np.random.default_rng(3)
    keys = chance.permutation(rows)

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, rows, _BATCH):
            users = keys[first : first + _BATCH]
            instants = START + chance.integers(0, 86_400_000_000, len(users))
            columns = {one.name: chance.standard_normal(len(users)) for one in VIEW.schema}
            yield pa.record_batch(
                {"user_id": users, **columns, "event_timestamp": pa.array(instants, pa.timestamp("us", "UTC"))}
            )

    first = next(batches()).schema
    chance = np.random.default_rng(3)
    with FeatureStore.init(folder, project="bench") as store:
        store.apply([VIEW])
        store.ingest(VIEW.name, pa.RecordBatchReader.from_batches(first, batches()))


def _in_a_process(side: str, folder: Path, rows: int) -> tuple[float, float]:
    """Return the seconds, and the peak MB of memory that is the process's own."""
    command = [sys.executable, "-m", "benchmarks.materialize", side, str(folder), str(rows)]
    seconds, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return seconds, peak


class _Peak(threading.Thread):
    """Watches the memory of this process that is no page of a file, as those of the file are that LMDB maps."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mb = 0.0

    def run(self) -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    self.mb = max(self.mb, int(line.split()[1]) / 1e3)
            time.sleep(0.05)


def _measured(side: str, folder: Path, rows: int) -> tuple[float, float]:
    if side == "floor":
        return _puts(folder), 0.0
    if side == "ours":
        shutil.rmtree(folder / "data/online", ignore_errors=True)
    with FeatureStore(folder) as store:
        store.status()  # what is imported and opened once
        peak = _Peak()
        peak.start()
        started = time.perf_counter()
        report = store.materialize(VIEW.name, full=side == "again")
        seconds = time.perf_counter() - started
        assert report.read == rows
        assert report.written == (rows if side == "ours" else 0)
    return seconds, peak.mb


def _puts(folder: Path) -> float:
    """Put what the run before has made into a file of its own."""
    store = LmdbStore(folder / "data/online")
    name = storage_id(VIEW)
    keys = list(store.keys(name))
    values = store.read([(name, keys)]).values[0]
    store.close()
    target = folder / "floor"
    shutil.rmtree(target, ignore_errors=True)
    pairs = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
    with lmdb.open(str(target), map_size=1 << 38) as env:
        started = time.perf_counter()
        for first in range(0, len(pairs), _CHUNK):
            with env.begin(write=True) as transaction:
                for key, value in pairs[first : first + _CHUNK]:
                    transaction.put(key, value)
        return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
