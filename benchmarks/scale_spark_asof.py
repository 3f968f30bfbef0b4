"""One process of ``benchmarks scale spark``: our join on Spark, a union and a window, against Spark's own AS OF join.

``python -m benchmarks.scale_spark_asof FOLDER SETTINGS CASES`` prints the seconds of both, case by case, as JSON. Both
read the same two files, and their answers are compared. No rows tie and none is late: AS OF has no rules for these.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_FEATURES = [f"f{number}" for number in range(10)]
_SPAN = int(timedelta(days=90) / timedelta(microseconds=1))
_RUNS = 2


def measure(folder: Path, settings: dict[str, Any], cases: list[dict[str, int]]) -> list[dict[str, float]]:
    """Return the seconds of both joins for each case: ``entities``, ``rows`` and ``keys``."""
    from featurestore.offline.spark.session import session
    from featurestore.settings.sections import SparkSettings

    conf = settings["conf"] | {"spark.sql.join.asofJoin.enabled": "true"}
    spark = session(SparkSettings(master=settings["master"], conf=conf))
    found = [_both(spark, _made(folder / str(number), **case)) for number, case in enumerate(cases)]
    spark.stop()
    return found


def _both(spark: Any, folder: Path) -> dict[str, float]:
    entities, rows = (spark.read.parquet(str(folder / name)) for name in ("entities.parquet", "rows.parquet"))
    forms: dict[str, Callable[[], Any]] = {
        "window": lambda: _window(spark, entities, rows),
        "asof": lambda: _as_of(spark, entities, rows),
    }
    answers = {name: _checked(spark, form()) for name, form in forms.items()}
    if answers["window"] != answers["asof"]:
        raise RuntimeError(f"the window answers {answers['window']}, AS OF {answers['asof']}")
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(_RUNS):
        for name, form in forms.items():
            started = time.perf_counter()
            _checked(spark, form())
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in seconds.items()}


def _window(spark: Any, entities: Any, rows: Any) -> Any:
    from featurestore import Entity, FeatureView, Field
    from featurestore.offline.spark.matching import Seen, met
    from featurestore.types import Float64, Int64

    view = FeatureView(
        name="made",
        entities=[Entity(name="user", join_keys=["user"], dtypes=[Int64])],
        schema=[Field(name=name, dtype=Float64) for name in _FEATURES],
    )
    seen = Seen(view=view, loads=pa.table({}), as_of=None, known_at=None)
    ranked = spark.sql(
        f"SELECT k0, event AS since, event, 0L AS made, 0L AS load_order, 0L AS number, {', '.join(_FEATURES)} "
        "FROM {rows}",
        rows=rows,
    )
    joined = met(spark, entities, ranked, seen, keys=["user"], features=_FEATURES, called="u_")
    columns = ", ".join(f"u_{name} AS {name}" for name in _FEATURES)
    return spark.sql(f"SELECT place, u_event AS found, {columns} FROM {{joined}}", joined=joined)


def _as_of(spark: Any, entities: Any, rows: Any) -> Any:
    columns = ", ".join(f"r.{name}" for name in _FEATURES)
    return spark.sql(
        f"SELECT e.place, r.event AS found, {columns} FROM {{entities}} e LEFT ASOF JOIN {{rows}} r "
        "MATCH_CONDITION (e.instant >= r.event) ON e.user = r.k0",
        entities=entities,
        rows=rows,
    )


def _checked(spark: Any, joined: Any) -> tuple[int, ...]:
    """Return how many rows there are, how many found something, and a sum over all values that no order changes."""
    values = ", ".join(("place", "found", *_FEATURES))
    query = f"SELECT count(*), count(found), bit_xor(xxhash64({values})) FROM {{joined}}"
    return tuple(spark.sql(query, joined=joined).collect()[0])


def _made(folder: Path, *, entities: int, rows: int, keys: int) -> Path:
    """Write entity rows and feature rows of some keys, no two of a key at one instant."""
    folder.mkdir()
    random = np.random.default_rng(5)
    events = np.arange(rows) * (_SPAN // rows) + random.integers(0, _SPAN // rows, rows)
    columns: dict[str, Any] = {name: random.standard_normal(rows) for name in _FEATURES}
    pq.write_table(
        pa.table({"k0": random.integers(0, keys, rows), "event": events, **columns}), folder / "rows.parquet"
    )
    asked = {
        "place": np.arange(entities),
        "user": random.integers(0, keys, entities),
        "instant": random.integers(0, _SPAN, entities),
    }
    pq.write_table(pa.table(asked), folder / "entities.parquet")
    return folder


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))))
