"""What does the point-in-time join cost beside DuckDB's own ASOF join over the same files?"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.harness import Row, in_turn
from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Float64, Int64

FEATURES = 10
START = datetime(2024, 1, 1, tzinfo=UTC)


def run(*, quick: bool) -> list[Row]:
    """Join entity rows with one view of ten features and a TTL."""
    sizes = [(20_000, 200_000)] if quick else [(100_000, 1_000_000), (1_000_000, 10_000_000)]
    return [_measure(entities, rows, pairs=3) for entities, rows in sizes]


def _measure(entities: int, rows: int, *, pairs: int) -> Row:
    random = np.random.default_rng(7)
    keys = max(1, rows // 100)
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    names = [f"f{index}" for index in range(FEATURES)]
    view = FeatureView(
        name="facts",
        entities=[user],
        ttl=timedelta(days=30),
        schema=[Field(name=name, dtype=Float64) for name in names],
    )
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore.init(Path(folder) / "repo")
        with store:
            store.apply([FeatureService(name="all", features=[view])])
            store.ingest("facts", _feature_rows(random, keys, rows, names))
            entity_rows = pa.table(
                {
                    "user_id": random.integers(0, keys, entities),
                    "event_timestamp": _instants(random, entities, spread_days=100),
                }
            )
            files = store.offline.table(view).files()

            def ours() -> object:
                return store.get_historical_features(entity_rows, "all").to_arrow()

            def floor() -> object:
                with duckdb.connect() as connection:
                    connection.execute("SET TimeZone = 'UTC'")
                    connection.register("e", entity_rows)
                    columns = ", ".join(f"f.{name}" for name in names)
                    return connection.sql(
                        f"SELECT e.*, {columns} FROM e ASOF LEFT JOIN read_parquet({files!r}) f "
                        "ON e.user_id = f.user_id AND e.event_timestamp >= f.event_timestamp"
                    ).to_arrow_table()

            seconds = in_turn(ours, floor, pairs=pairs)
    work = f"{entities:,} entity rows x {rows:,} feature rows x {FEATURES}"
    return Row(work=work, ours=seconds[0], floor=seconds[1], unit="s")


def _feature_rows(random: np.random.Generator, keys: int, rows: int, names: list[str]) -> pa.Table:
    columns: dict[str, object] = {name: random.standard_normal(rows) for name in names}
    columns["user_id"] = random.integers(0, keys, rows)
    columns["event_timestamp"] = _instants(random, rows, spread_days=90)
    return pa.table(columns)


def _instants(random: np.random.Generator, count: int, *, spread_days: int) -> pa.Array:
    start = int(START.timestamp() * 1_000_000)
    spread = random.integers(0, spread_days * 86_400_000_000, count)
    return pa.array(start + spread, pa.timestamp("us", tz="UTC"))
