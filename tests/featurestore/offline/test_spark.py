"""Apache Spark beside DuckDB, on a real cluster of two executors: one session for all tests of this file."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as Number
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.definitions import storage_id
from featurestore.errors import ConfigError, DataError, OfflineStoreError
from featurestore.offline.datasets.content import content_hash
from featurestore.offline.join.entity_rows import check_entity_rows
from featurestore.offline.join.historical import HistoricalFeatures
from featurestore.offline.join.question import Question
from featurestore.offline.spark import session as sessions
from featurestore.offline.spark.engine import SparkEngine
from featurestore.offline.tables.snapshots import DataFile, Snapshot
from featurestore.online import MemoryStore
from featurestore.profiles import fit_bins
from featurestore.settings.online import RedisConfig
from featurestore.settings.sections import OfflineConfig, SparkConfig, SparkSettings
from featurestore.types import (
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    Embedding,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
)
from tests import backends
from tests.spark_clusters import said_by_executors

ON_DISK, ON_S3 = backends.marks("offline", "spark-disk", "spark-s3")
pytestmark = pytest.mark.timeout(600)  # the first of these waits for a cluster to start

ROOT = Path(__file__).parents[3]
START = datetime(2013, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")


def _oracle() -> ModuleType:
    """Load the module of the join's brute force: tests are no package."""
    file = Path(__file__).parent / "join" / "test_join_oracle.py"
    spec = importlib.util.spec_from_file_location("join_oracle_for_spark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ORACLE = _oracle()


# The cluster


@pytest.fixture(scope="module")
def connected(spark_cluster: SparkSettings) -> Iterator[SparkSettings]:
    """Yield the settings of a client of Spark Connect, of another time zone than the classic session's."""
    port = spark_cluster.conf["spark.connect.grpc.binding.port"]
    settings = SparkSettings(remote=f"sc://127.0.0.1:{port}", conf={"spark.sql.session.timeZone": "America/New_York"})
    yield settings
    sessions.session(settings).stop()


# The join


def batch(seeds: range, folder: Path, *, as_of: int | None, known_at: str | None) -> tuple[Question, list[Any]]:
    """Return a question that is many random cases at once, told apart by their keys, and what brute force answers.

    Three views with other TTLs and delays read the same rows.
    """
    ages = [(None, None), (2, None), (3, 1)]
    cases = [replace(ORACLE.crowded(seed), as_of=as_of, known_at=known_at) for seed in seeds]
    cases = [replace(one, entities=[*one.entities, ((None, "3"), 4), ((1, None), 4)]) for one in cases]
    entries = [
        ((row.key[0] + 1000 * number, row.key[1]), row, f"case{number}load{load}", place)
        for number, case in enumerate(cases)
        for load, rows in enumerate(case.loads)
        for place, row in enumerate(rows)
    ]
    Random(seeds.start).shuffle(entries)
    files = []
    for part in (entries[0::3], entries[1::3], entries[2::3]):
        name = f"part-{uuid.uuid4()}.parquet"
        table = pa.table(
            {
                "number": pa.array([key[0] for key, *_ in part], pa.int64()),
                "code": pa.array([key[1] for key, *_ in part], pa.string()),
                "value": pa.array([row.value for _, row, *_ in part], pa.int64()),
                "event_timestamp": pa.array([ORACLE.at(row.event) for _, row, *_ in part], INSTANT),
                "created_timestamp": pa.array([ORACLE.at(row.created) for _, row, *_ in part], INSTANT),
                "load_id": pa.array([load for _, _, load, _ in part], pa.string()),
                "row_number": pa.array([place for *_, place in part], pa.int64()),
            }
        )
        pq.write_table(table, folder / name)
        events = table["event_timestamp"].cast(pa.int64()).to_pylist()
        size = (folder / name).stat().st_size
        files.append(DataFile(place=folder / name, rows=len(part), size=size, first=min(events), last=max(events)))
    place = Entity(name="place", join_keys=["number", "code"], dtypes=[Int64, String])

    def us(number: int | None) -> timedelta | None:
        return None if number is None else timedelta(microseconds=number)

    views = [
        FeatureView(
            name=f"seats{number}",
            entities=[place],
            ttl=us(ttl),
            delay=us(delay),
            schema=[Field(name="value", dtype=Int64)],
        )
        for number, (ttl, delay) in enumerate(ages)
    ]
    service = FeatureService(name="offer", features=[view.with_name(f"of_{view.name}") for view in views])
    asked = [
        ((None if key[0] is None else key[0] + 1000 * number, key[1]), at)
        for number, case in enumerate(cases)
        for key, at in case.entities
    ]
    given = pa.table(
        {
            "number": pa.array([key[0] for key, _ in asked], pa.int64()),
            "code": pa.array([key[1] for key, _ in asked], pa.string()),
            "event_timestamp": pa.array([ORACLE.at(at) for _, at in asked], INSTANT),
        }
    )
    loads = [
        (storage_id(view), f"case{number}load{load}", load + 1, ORACLE.at(at))
        for view in views
        for number, case in enumerate(cases)
        for load, at in enumerate(case.published)
    ]
    ledger = pa.table(
        {
            "storage_id": pa.array([one[0] for one in loads], pa.string()),
            "load_id": pa.array([one[1] for one in loads], pa.string()),
            "load_order": pa.array([one[2] for one in loads], pa.int64()),
            "published_at": pa.array([one[3] for one in loads], INSTANT),
        }
    )
    snapshot = Snapshot(version=1, files=tuple(sorted(files, key=lambda one: one.name)))
    question = Question(
        service=service,
        label="offer@1",
        rows=check_entity_rows(given, service, "event_timestamp", with_status=True),
        tables={view.name: snapshot for view in views},
        ledger=ledger,
        with_status=True,
        as_of=ORACLE.at(as_of),
        known_at="row" if known_at else None,
        offline=OfflineConfig(engine="spark"),
        spill=folder / ".spill",
    )
    expected = [
        [answer for case in cases for answer in ORACLE.answers(replace(case, ttl=ttl, delay=delay))]
        for ttl, delay in ages
    ]
    return question, expected


def check_batch(question: Question, expected: list[Any], engine: SparkEngine) -> None:
    result = HistoricalFeatures(question, engine).to_arrow()
    for number, answers in enumerate(expected):
        name = f"of_seats{number}"
        assert result[f"{name}__value"].to_pylist() == [value for value, _, _ in answers]
        assert result[f"{name}__status"].to_pylist() == [status for _, status, _ in answers]
        assert result[f"{name}__event_timestamp"].to_pylist() == [ORACLE.at(event) for _, _, event in answers]


@ON_DISK
@pytest.mark.parametrize(("as_of", "known_at"), [(None, None), (3, "row")])
def test_the_join_agrees_with_brute_force(
    spark_cluster: SparkSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_of: int | None,
    known_at: str | None,
) -> None:
    """Ties within and between loads, late rows, as_of, known_at, delays, TTLs, keys with nulls; in several parts."""
    question, expected = batch(range(20), tmp_path, as_of=as_of, known_at=known_at)
    monkeypatch.setattr("featurestore.offline.spark.engine._PART_ROWS", question.rows.typed.num_rows // 3)
    check_batch(question, expected, SparkEngine(spark_cluster))


def test_a_part_of_the_answer_is_let_go_once_it_has_come(spark_cluster: SparkSettings) -> None:
    spark, parts, size = sessions.session(spark_cluster), 12, 8_000_000
    frame = spark.range(0, parts, 1, parts).selectExpr(
        "id", f"CAST(repeat(CAST(id % 10 AS STRING), {size}) AS BINARY) AS b"
    )
    memory = spark.sparkContext._jvm.java.lang.Runtime.getRuntime()

    def used() -> int:
        memory.gc()
        return int(memory.totalMemory() - memory.freeMemory())

    with sessions.kept_on_disk(frame) as kept:
        before, places, grown = used(), [], 0
        for row in sessions.fetched(kept):
            places.append(row["id"])
            assert len(row["b"]) == size
            grown = max(grown, used() - before)
    assert places == list(range(parts))
    assert grown < 5 * size


# A store with rows of all types

KEYS = {
    "code": String,
    "on": Date,
    "at": Timestamp,
    "price": Decimal(10, 2),
    "ratio": Float64,
    "raw": Bytes,
    "flag": Bool,
}
FIELDS = {
    "Flag2": Bool,
    "i": Int32,
    "l": Int64,
    "f": Float32,
    "d": Float64,
    "s": String,
    "y": Bytes,
    "day": Date,
    "instant": Timestamp,
    "m": Decimal(38, 10),
    "lists": Array(Array(Int64)),
    "e": Embedding(3),
    "record": Struct({"a": Int64, "B": Array(String), "t": Timestamp, "e": Embedding(2)}),
}


def key(random: Random) -> dict[str, Any]:
    return {
        "code": random.choice(["JFK", "é'\\x", "LGA"]),
        "on": date(1582, 10, 4) + timedelta(days=random.randrange(2)),
        "at": START + timedelta(microseconds=random.randrange(2)),
        "price": Number("1.10"),
        "ratio": random.choice([0.0, -0.0]),
        "raw": b"\x00a",
        "flag": True,
    }


def all_sorts(random: Random, count: int) -> pa.Table:
    rows = [
        key(random)
        | {
            "event_timestamp": START + timedelta(hours=random.randrange(50)),
            "Flag2": bool(i % 2),
            "i": i - 2**31,
            "l": 2**63 - 1 - i,
            "f": float(np.float32(i / 3)),
            "d": [float("nan"), float("inf"), -0.0, i / 7][i % 4],
            "s": None if i % 5 == 0 else "ü" * (i % 4),
            "y": bytes([i % 256]),
            "day": date(1, 1, 1) + timedelta(days=i),
            "instant": datetime(1, 1, 2, tzinfo=UTC) + timedelta(microseconds=i),
            "m": Number("12345678901234567890.0000000001") + i,
            "lists": None if i % 6 == 0 else [[1, None], None, []],
            "e": None if i % 4 == 1 else [0.1, float(i), -0.0],
            "record": None if i % 7 == 0 else {"a": None, "B": ["x", None], "t": START, "e": [1.0, 2.0]},
            "filled": None,
        }
        for i in range(count)
    ]
    types = {**KEYS, "event_timestamp": Timestamp, **FIELDS, "filled": Int64}
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, dtype.to_arrow()) for name, dtype in types.items()]))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store of three views: one of all types, one that changes with time, and one that is computed."""
    # A folder that is called as a key is, which Spark would take for its values; and letters of a pattern.
    folder = tmp_path_factory.mktemp("store") / "code=LGA"
    random = Random(1)
    everything = FeatureView(
        name="everything",
        entities=[Entity(name="place", join_keys=list(KEYS), dtypes=list(KEYS.values()))],
        schema=[
            *(Field(name=name, dtype=dtype) for name, dtype in FIELDS.items()),
            Field(name="filled", dtype=Int64, default=7),
        ],
    )
    weather = FeatureView(
        name="weather",
        entities=[Entity(name="code", join_keys=["code"], dtypes=[String])],
        ttl=timedelta(hours=5),
        schema=[Field(name="temp", dtype=Float64), Field(name="wind", dtype=Int64)],
    )
    never = FeatureView(
        name="never",
        entities=[Entity(name="code", join_keys=["code"], dtypes=[String])],
        schema=[Field(name="snow", dtype=Float64, default=0.5)],
    )
    chill = OnDemandFeatureView(
        name="chill",
        inputs=[weather],
        request=[Field(name="hour", dtype=Int64), Field(name="tags", dtype=Array(String))],
        schema=[Field(name="felt", dtype=Float64), Field(name="said", dtype=String)],
        expressions={"felt": "temp / 3.7 + hour * 0.1", "said": "concat('h', cast(hour as varchar))"},
    )
    service = FeatureService(name="offer", features=[everything, weather, never, chill])
    with FeatureStore.init(folder) as store:
        store.apply([everything, weather, never, chill, service])
        store.ingest("everything", all_sorts(random, 300))
        for load in range(3):
            rows = [
                {
                    "code": code,
                    "temp": random.gauss(0, 1),
                    "wind": load,
                    "event_timestamp": START + timedelta(hours=hour),
                }
                for code in ("JFK", "LGA", "é'\\x")
                for hour in range(0, 60, 3)
            ]
            store.ingest("weather", rows)
    return folder


def asked(count: int = 200) -> pa.Table:
    random = Random(2)
    rows = [
        key(random)
        | {
            "event_timestamp": START + timedelta(hours=random.randrange(-3, 70)),
            "hour": i,
            "tags": ["a", None],
            "label": i,
        }
        for i in range(count)
    ]
    rows[3]["code"] = None
    return pa.Table.from_pylist(rows)


def opened(folder: Path, settings: SparkSettings | None, **changes: Any) -> FeatureStore:
    """Open the store, with Spark if there are settings of it."""
    store = FeatureStore(folder)
    if settings is not None:
        spark = SparkConfig.model_validate(
            {"remote": settings.remote, "master": settings.master, "conf": dict(settings.conf)}
        )
        changes["offline"] = store.config.offline.model_copy(update={"engine": "spark", "spark": spark})
    store.config = store.config.model_copy(update=changes)
    return store


def joined(folder: Path, settings: SparkSettings | None) -> str:
    """Return the hash of all features with their statuses."""
    with opened(folder, settings) as store:
        return content_hash(store.get_historical_features(asked(), "offer", with_status=True).to_arrow())


def trained(folder: Path, settings: SparkSettings | None) -> dict[str, Any]:
    """Return what the manifest of a training dataset says of its content."""
    with opened(folder, settings) as store:
        made = store.create_training_dataset(f"made_{uuid.uuid4().hex}", entity_df=asked(), features="offer")
        return {name: made.manifest[name] for name in ("content_hash", "columns", "column_hashes", "rows")}


@ON_DISK
def test_a_training_set_has_the_same_hash_as_by_duckdb(
    repository: Path, spark_cluster: SparkSettings, connected: SparkSettings
) -> None:
    """All types and their nulls, defaults, on-demand expressions, order; in a classic session and by Connect."""
    assert trained(repository, spark_cluster) == trained(repository, None)
    with pytest.MonkeyPatch.context() as patch:
        # Read by pyarrow, as where Spark has no file system.
        patch.setattr("featurestore.offline.spark.reading._PLAIN_PATH", re.compile("nothing"))
        assert joined(repository, connected) == joined(repository, None)
    with opened(repository, spark_cluster) as store:
        nobody = store.get_historical_features(asked().slice(0, 0), "offer").to_arrow()
    assert nobody.num_rows == 0


def test_an_error_of_an_executor_is_the_one_that_it_would_be_here(
    repository: Path, spark_cluster: SparkSettings
) -> None:
    """Without a traceback of Java or Python."""
    with opened(repository, spark_cluster) as store:
        wrong = OnDemandFeatureView(
            name="wrong",
            inputs=[store.get("weather").definition],
            request=[Field(name="hour", dtype=Int64)],
            schema=[Field(name="number", dtype=Int64)],
            expressions={"number": "CAST(concat('x', CAST(hour AS VARCHAR)) AS BIGINT)"},
        )
        with pytest.raises(DataError, match='"wrong" cannot be evaluated') as caught:
            store.get_historical_features(asked(20), [wrong]).to_arrow()
    assert "TRY_CAST" in caught.value.hint


def test_a_table_that_executors_cannot_read_says_so(repository: Path, spark_cluster: SparkSettings) -> None:
    with opened(repository, spark_cluster) as store:
        found = store.get_historical_features(asked(), "offer")
        tables = {
            name: one
            and replace(one, files=tuple(replace(file, place=Path(f"{file.path}.gone")) for file in one.files))
            for name, one in found.question.tables.items()
        }
        broken = HistoricalFeatures(replace(found.question, tables=tables), SparkEngine(spark_cluster))
        with pytest.raises(OfflineStoreError, match="All executors have to see the tables") as caught:
            broken.to_arrow()
    assert str(caught.value).count("\n") < 2


# Profiles and materialization


@ON_DISK
def test_profiles_by_partition_are_ours(repository: Path, spark_cluster: SparkSettings) -> None:
    """Counts are the same, and moments agree to twelve digits."""
    with opened(repository, None) as store:
        view = store.get("everything").definition
        bins = fit_bins(all_sorts(Random(1), 300), view.schema)
        span = {"start": START + timedelta(hours=5), "end": START + timedelta(hours=40)}
        ours = store.offline.profile(view, bins, **span)
    with opened(repository, spark_cluster) as store:
        theirs = store.offline.profile(view, bins, **span)
    assert 0 < ours.rows < 300
    assert theirs.rows == ours.rows
    assert np.array_equal(theirs.counts, ours.counts)
    assert np.array_equal(theirs.infinite, ours.infinite)
    for name in ("mean", "squares", "minimum", "maximum"):
        assert np.allclose(getattr(theirs, name), getattr(ours, name), rtol=1e-12, atol=0, equal_nan=True)


@ON_DISK
def test_executors_materialize_the_rows_that_this_process_would(
    repository: Path, spark_cluster: SparkSettings, connected: SparkSettings, tmp_path: Path
) -> None:
    """The same bytes and the same counts; then nothing new, and a store that executors cannot reach."""
    copies = [tmp_path / name for name in ("here", "there")]
    found = []
    for folder, settings in zip(copies, (None, spark_cluster), strict=True):
        shutil.copytree(repository, folder)
        with opened(folder, settings) as store:
            reports = [store.materialize(name) for name in ("everything", "weather", "never", "weather")]
            counts = [(one.read, one.written, one.older, one.expired, one.rejected) for one in reports]
            rows = [online_rows(store, name) for name in ("everything", "weather")]
            found.append((counts, rows))
    assert found[0] == found[1]
    assert len(found[0][1][1]) == 0  # past their TTL, by now
    assert len(found[0][1][0]) > 1
    with opened(copies[1], connected) as store, pytest.raises(ConfigError, match="on this machine alone"):
        store.materialize("weather", full=True)
    with opened(copies[1], spark_cluster, online="memory://") as store:
        assert isinstance(store.online, MemoryStore)
        with pytest.raises(ConfigError, match="in this process alone"):
            store.materialize("weather", full=True)


# Other stores than this machine's disk


def weather_store(folder: Path, settings: str) -> None:
    """Make a store of one view, whose tables lie where its settings say."""
    view = FeatureView(
        name="weather",
        entities=[Entity(name="code", join_keys=["code"], dtypes=[String])],
        schema=[
            Field(name="temp", dtype=Float64),
            Field(name="seen", dtype=Timestamp),
            Field(name="wind", dtype=Int64),
        ],
    )
    random = Random(3)
    FeatureStore.init(folder, project="spark").close()
    (folder / "featurestore.toml").write_text(f'project = "spark"\n{settings}')
    with FeatureStore(folder) as store:
        store.apply([FeatureService(name="offer", features=[view])])
        for load in range(3):
            rows = [
                {
                    "code": f"k{random.randrange(40)}",
                    "event_timestamp": START + timedelta(minutes=random.randrange(4000)),
                }
                | {
                    "temp": random.gauss(0, 1),
                    "seen": START + timedelta(microseconds=load),
                    "wind": None if load else row,
                }
                for row in range(100)
            ]
            store.ingest("weather", rows)


def of_weather(count: int = 150) -> pa.Table:
    random = Random(4)
    return pa.Table.from_pylist(
        [
            {"code": f"k{random.randrange(45)}", "event_timestamp": START + timedelta(minutes=random.randrange(5000))}
            for _ in range(count)
        ]
    )


@ON_S3
def test_tables_in_object_storage_are_read_by_keys_that_nothing_shows(
    spark_cluster: SparkSettings,
    connected: SparkSettings,
    object_storage: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Executors have no keys: those of this process come with what they run, and stand in no plan, log or error."""
    weather_store(tmp_path / "store", object_storage.settings(retries=0, retry_seconds=0))

    def features(store: FeatureStore) -> HistoricalFeatures:
        return store.get_historical_features(of_weather(), "offer", with_status=True)

    with opened(tmp_path / "store", None) as store:
        expected, view = content_hash(features(store).to_arrow()), store.get("weather").definition
        bins = fit_bins(features(store).to_arrow().select(["temp", "seen", "wind"]), view.schema)
        counts = store.offline.profile(view, bins).counts
    with opened(tmp_path / "store", connected) as store:
        assert content_hash(features(store).to_arrow()) == expected
    with opened(tmp_path / "store", spark_cluster) as store:
        assert content_hash(features(store).to_arrow()) == expected
        assert np.array_equal(store.offline.profile(view, bins).counts, counts)
        found = features(store)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-5c1d")
        with pytest.raises(OfflineStoreError, match=rf"failed: {object_storage.url}/.* it refuses access") as caught:
            found.to_arrow()
    assert caught.value.hint.startswith("The keys need rights")
    shown = [str(caught.value), repr(caught.value.__cause__)]
    logs = Path(spark_cluster.conf["spark.local.dir"])
    work = said_by_executors(sessions.session(spark_cluster))
    shown += [one.read_text(errors="replace") for one in (*logs.rglob("events*"), *work.rglob("std*"))]
    assert any("FilesRead(path" in one for one in shown)
    assert any("it refuses access" in one for one in shown[2:])
    for secret in ("tests-secret-2f81", "another-5c1d"):
        assert not any(secret in one for one in shown)


def online_rows(store: FeatureStore, view: str) -> list[tuple[Any, Any]]:
    """Return the keys and the bytes of what is online, by key."""
    name = storage_id(store.get(view).definition)
    keys = sorted(store.online.keys(name))
    return list(zip(keys, store.online.read([(name, keys)]).values[0], strict=True))


def test_executors_write_into_redis_by_partition(
    connected: SparkSettings, redis_settings: RedisConfig, tmp_path: Path
) -> None:
    """By Spark Connect, what this process would write; and then what is new alone."""
    weather_store(tmp_path / "here", "")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    new = {"event_timestamp": START + timedelta(days=9), "temp": None, "seen": None}
    more = [{"code": f"k{place}", "wind": place} | new for place in (1, 2, 99)]
    found = []
    for name, settings, online in (("here", None, "lmdb://data/online"), ("there", connected, redis_settings)):
        with opened(tmp_path / name, settings, online=online) as store:
            first = store.materialize("weather")
            store.ingest("weather", more)
            second = store.materialize("weather")
            counts = [(one.read, one.written, one.older, one.expired, one.rejected) for one in (first, second)]
            found.append((counts, online_rows(store, "weather")))
    assert found[1] == found[0]
    assert found[0][0][1][:2] == (3, 3)
    assert len(found[0][1]) > 30


# Without Spark


def test_the_error_for_a_missing_package_names_the_extra(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with (
        opened(repository, SparkSettings(master="local[1]", conf={"spark.nobody": "has these"})) as store,
        pytest.raises(ConfigError, match=r"featurestore\[spark\]"),
    ):
        store.get_historical_features(asked(), "offer").to_arrow()


def test_a_server_that_is_not_there_is_named_without_its_token(repository: Path, lacking: Callable[[str], Any]) -> None:
    if importlib.util.find_spec("pyspark") is None:
        lacking("needs pyspark: pip install 'featurestore[spark]'")
    settings = SparkSettings(remote="sc://127.0.0.1:1/;token=hunter2")
    assert "hunter2" not in repr(settings)
    with (
        opened(repository, settings) as store,
        pytest.raises(OfflineStoreError, match=r"can be reached at 127\.0\.0\.1:1") as caught,
    ):
        store.get_historical_features(asked(), "offer").to_arrow()
    assert "hunter2" not in str(caught.value)


def test_the_environment_is_left_as_it_was() -> None:
    """Connect by way of pyspark's own builder would turn the whole process over to it."""
    assert not {"SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"} & set(os.environ)
