"""One process of the benchmarks of the point-in-time join: it makes the data, or joins them once and says at what cost.

``python -m benchmarks.asof_process prepare|ours|floor FOLDER OPTIONS`` prints JSON: seconds, and peak bytes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import peak_memory

if TYPE_CHECKING:
    from featurestore import FeatureService, FeatureStore

FEATURES = 10
START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 90
TTL = timedelta(days=30)
_US = 86_400_000_000


def names(view: str) -> list[str]:
    """Return the features of a view; those of one are not those of another."""
    return [f"{view}_{number}" for number in range(FEATURES)]


def definitions() -> list[FeatureService]:
    """Return a service of one view, one of three, and one of the view that is loaded twice in part."""
    from featurestore import Entity, FeatureService, FeatureView, Field
    from featurestore.types import Float64, Int64

    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])

    def view(name: str) -> FeatureView:
        fields = [Field(name=one, dtype=Float64) for one in names(name)]
        return FeatureView(name=name, entities=[user], ttl=TTL, schema=fields)

    one = view("a")
    return [
        FeatureService(name="one", features=[one]),
        FeatureService(name="three", features=[one, view("b"), view("c")]),
        FeatureService(name="tied", features=[view("twice")]),
    ]


def prepare(folder: Path, *, entities: int, rows: int, loads: int, services: list[str]) -> None:
    """Ingest the views of the services and write the entity rows.

    Loads follow each other in time; of the view ``twice`` a twentieth of the rows comes again, with other values.
    """
    from featurestore import FeatureStore

    random = np.random.default_rng(7)
    keys = max(1, rows // 100)
    with FeatureStore.init(folder / "repo", project="bench") as store:
        chosen = [one for one in definitions() if one.name in services]
        store.apply(chosen)
        for view in {view.name: view for one in chosen for view in one.views}:
            for load in range(loads):
                table = _feature_rows(random, keys, rows // loads, names(view), load * DAYS / loads, DAYS / loads)
                store.ingest(view, table)
            if view == "twice":
                again = table.slice(0, rows // loads // 20)
                store.ingest(view, again.set_column(0, names(view)[0], pa.array(random.standard_normal(len(again)))))
        # For the floor, whose process imports nothing of ours.
        known = {
            one.name: {
                "files": {view.name: store.offline.table(view).files() for view in one.views},
                "first": _first_load(store, one.name).load_id,
            }
            for one in chosen
        }
        (folder / "tables.json").write_text(json.dumps(known))
    asked = {
        "user_id": random.integers(0, keys, entities),
        "event_timestamp": _instants(random, entities, 0, DAYS + 10),
    }
    pq.write_table(pa.table(asked), folder / "entities.parquet")


def _feature_rows(
    random: np.random.Generator, keys: int, rows: int, features: list[str], first: float, days: float
) -> pa.Table:
    columns: dict[str, Any] = {name: random.standard_normal(rows) for name in features}
    columns["user_id"] = random.integers(0, keys, rows)
    columns["event_timestamp"] = _instants(random, rows, first, days)
    return pa.table(columns)


def _instants(random: np.random.Generator, count: int, first: float, days: float) -> pa.Array:
    start = int(START.timestamp() * 1_000_000) + int(first * _US)
    return pa.array(start + random.integers(0, int(days * _US), count), pa.timestamp("us", tz="UTC"))


def ours(folder: Path, *, service: str, as_of: bool, memory: str, out: bool) -> dict[str, float]:
    """Join by the store: a table in memory, or a Parquet file."""
    from featurestore import FeatureStore

    if memory:
        file = folder / "repo" / "featurestore.toml"
        file.write_text(f'project = "bench"\n[offline]\nmemory_limit = "{memory}"\n')
    with FeatureStore(folder / "repo") as store:
        entities = pq.read_table(folder / "entities.parquet")
        until = _first_load(store, service).published_at if as_of else None

        def join() -> object:
            features = store.get_historical_features(entities, service, as_of=until)
            return features.write(folder / "ours.parquet") if out else features.to_arrow()

        return _measured(join)


def floor(folder: Path, *, service: str, as_of: bool, memory: str, out: bool) -> dict[str, float]:
    """Join the same files by DuckDB's ASOF join alone, with the same output."""
    known = json.loads((folder / "tables.json").read_text())[service]
    files, first = known["files"], known["first"]
    entities = pq.read_table(folder / "entities.parquet")
    columns, joins = ["e.*"], []
    for number, (view, listed) in enumerate(files.items()):
        fresh = f"e.event_timestamp - f{number}.event_timestamp <= INTERVAL {TTL.days} DAY"
        columns += [f"CASE WHEN {fresh} THEN f{number}.{name} END AS {name}" for name in names(view)]
        rows = f"read_parquet({listed!r})"
        if as_of:
            rows = f"(SELECT * FROM {rows} WHERE load_id = '{first}')"
        elif view == "twice":
            newest = "PARTITION BY user_id, event_timestamp ORDER BY load_id <> $first DESC, row_number DESC"
            rows = f"(SELECT * FROM {rows} QUALIFY row_number() OVER ({newest.replace('$first', repr(first))}) = 1)"
        same = f"e.user_id = f{number}.user_id AND e.event_timestamp >= f{number}.event_timestamp"
        joins.append(f"ASOF LEFT JOIN {rows} f{number} ON {same}")
    query = f"SELECT {', '.join(columns)} FROM e {' '.join(joins)}"

    def join() -> object:
        with duckdb.connect(config={"temp_directory": str(folder / "spill")}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            if memory:
                connection.execute(f"SET memory_limit = '{memory}'")
            connection.register("e", entities)
            if out:
                target = folder / "floor.parquet"
                return connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
            return connection.sql(query).to_arrow_table()

    return _measured(join)


def _first_load(store: FeatureStore, service: str) -> Any:
    (view, *_) = store.registry.service(service).definition.views
    return store.offline.loads(view)[0]


def _measured(join: Callable[[], object]) -> dict[str, float]:
    started = time.perf_counter()
    join()
    return {"seconds": time.perf_counter() - started, "bytes": peak_memory()}


def main() -> None:
    """Do what the command line says."""
    what, folder, options = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    parts: dict[str, Callable[..., object]] = {"prepare": prepare, "ours": ours, "floor": floor}
    done = parts[what](folder, **options)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
