"""Feast's join of the same files, run by a Python that has it: ``asof_feast.py FOLDER`` prints JSON.

It imports nothing of ours. Feast reads the Parquet file of our table by its DuckDB store, with the same TTL, and gives
an Arrow table. The clock runs from the question to the table; definitions are applied, and entity rows read, before.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

FEATURES = [f"a_{number}" for number in range(10)]


def main() -> None:
    """Join the entity rows of the folder with the table of its service ``one``."""
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64

    folder = Path(sys.argv[1])
    (files,) = json.loads((folder / "tables.json").read_text())["one"]["files"].values()
    (file,) = files  # one load, one file
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / "feast.db"),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(folder / "feast_online.db")},
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    view = FeatureView(
        name="a",
        entities=[user],
        ttl=timedelta(days=30),
        schema=[Field(name=name, dtype=Float64) for name in FEATURES],
        source=FileSource(path=file, timestamp_field="event_timestamp"),
    )
    store.apply([user, view])
    entities = pd.read_parquet(folder / "entities.parquet")
    started = time.perf_counter()
    found = store.get_historical_features(entities, [f"a:{name}" for name in FEATURES]).to_arrow()
    seconds = time.perf_counter() - started
    peak = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    told = {
        "seconds": seconds,
        "bytes": peak,
        "rows": found.num_rows,
        "asked": len(entities),
        "version": version("feast"),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
