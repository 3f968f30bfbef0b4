"""What does a validated load cost beside Polars that writes the same Parquet, and how much memory does it take?"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Row
from featurestore import Entity, FeatureStore, FeatureView, Field
from featurestore.types import Float64, Int64, String

_START = datetime(2024, 1, 1, tzinfo=UTC)
_NAMES = [f"f{index}" for index in range(8)]
_CHUNK = 500_000
_VIEW = "facts"


def run(*, quick: bool) -> list[Row]:
    """Load a file whose rows are all checked; the floor scans it and sinks it with the same compression.

    Every run is a process of its own, in a store of its own: the same file twice is one load. The load before the
    measured one is what it is compared with.
    """
    rows = 100_000 if quick else 5_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in (rows, 4 * rows):
            _write(folder / f"{size}.parquet", size)
        _write(folder / "before.parquet", rows, seed=8)
        _prepare(folder)
        speed = [
            _speed(folder, rows, pairs=1 if quick else 3, goal=None if quick else 0.5),
            _speed(folder, 4 * rows, pairs=1 if quick else 2, goal=None if quick else 0.5),
        ]
        peaks = [
            statistics.median(_in_a_process("ours", folder, size)[1] for _ in range(3)) for size in (4 * rows, rows)
        ]
    flat = Row(
        work=f"peak, {4 * rows:,} rows beside {rows:,} rows",
        ours=peaks[0],
        floor=peaks[1],
        unit="MB",
        goal=None if quick else 1.1,
    )
    return [*speed, flat]


def _speed(folder: Path, rows: int, *, pairs: int, goal: float | None) -> Row:
    found: dict[str, list[float]] = {"ours": [], "floor": []}
    for _ in range(pairs + 1):
        for side, rates in found.items():
            rates.append(rows / _in_a_process(side, folder, rows)[0])
    ours, floor = (statistics.median(found[side][1:]) / 1e6 for side in ("ours", "floor"))
    return Row(
        work=f"{rows:,} rows x {len(_NAMES) + 1} features",
        ours=ours,
        floor=floor,
        unit="M rows/s",
        goal=goal,
        more_is_better=True,
    )


def _in_a_process(side: str, folder: Path, rows: int) -> tuple[float, float]:
    """Return the seconds and the peak MB of one run."""
    command = [sys.executable, "-m", "benchmarks.ingest", side, str(folder), str(rows)]
    seconds, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return seconds, peak


def _measured(side: str, folder: Path, rows: int) -> tuple[float, float]:
    file = folder / f"{rows}.parquet"
    if side == "floor":
        started = time.perf_counter()
        pl.scan_parquet(file).sink_parquet(folder / "floor.parquet", compression="zstd", compression_level=1)
    else:
        shutil.rmtree(folder / "mine", ignore_errors=True)
        shutil.copytree(folder / "repo", folder / "mine")
        with FeatureStore(folder / "mine") as store:
            store.status()  # what is imported and opened once, as Polars is
            started = time.perf_counter()
            report = store.ingest(_VIEW, file)
            assert report.written == rows
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _prepare(folder: Path) -> None:
    view = FeatureView(
        name=_VIEW,
        entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
        schema=[
            *(Field(name=name, dtype=Float64, ge=-100, le=100, not_null=True) for name in _NAMES),
            Field(name="country", dtype=String, in_set=("de", "fr", "it", "us")),
        ],
        ttl=timedelta(days=30),
    )
    with FeatureStore.init(folder / "repo") as store:
        store.apply([view])
        store.ingest(_VIEW, folder / "before.parquet")


def _write(file: Path, rows: int, *, seed: int = 7) -> None:
    random = np.random.default_rng(seed)
    start = int(_START.timestamp() * 1_000_000)
    writer: pq.ParquetWriter | None = None
    for at in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - at)
        instants = start + random.integers(0, 90 * 86_400_000_000, count)
        table = pa.table(
            {
                "user_id": random.integers(0, rows // 100, count),
                "event_timestamp": pa.array(instants, pa.timestamp("us", tz="UTC")),
                **{name: random.standard_normal(count).round(3 + place % 2 * 9) for place, name in enumerate(_NAMES)},
                "country": random.choice(["de", "fr", "it", "us"], count),
            }
        )
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd", compression_level=1)
        writer.write_table(table)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
