"""The offline store on a disk and in object storage, by DuckDB and by Spark: the answers are the same to the byte.

A store takes the same steps with each; what it answers on the way is compared as Arrow's bytes, types and order of
rows included. Only what Delta and the clock make up for themselves, names of files and instants, is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pytest

from featurestore import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    PushSource,
    SqlSource,
)
from featurestore.settings.sections import SparkConfig, SparkSettings
from featurestore.types import Array, Float64, Int64, String, Timestamp
from tests import backends

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
USER = Entity(name="user", join_keys=["user"], dtypes=[Int64])
PLACES = ("disk", "s3", "spark-disk", "spark-s3")


class ObjectStorage(Protocol):
    """What the fixture of that name gives."""

    url: str

    def settings(self, *, at: str | None = None, **more: object) -> str: ...


@dataclass
class Told:
    """What a store answered, by step."""

    store: FeatureStore
    answers: dict[str, Any] = field(default_factory=dict)

    def table(self, step: str, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows.combine_chunks())
        self.answers[step] = (rows.num_rows, str(rows.schema), hashlib.sha256(sink.getvalue()).hexdigest())

    def say(self, step: str, *values: Any) -> None:
        self.answers[step] = values


def clicks(**changes: Any) -> FeatureView:
    given: dict[str, Any] = {
        "schema": [
            Field(name="price", dtype=Float64, ge=0),
            Field(name="count", dtype=Int64),
            Field(name="label", dtype=String),
            Field(name="path", dtype=Array(Int64)),
            Field(name="seen", dtype=Timestamp),
        ]
    }
    source = PushSource(name="clicks", timestamp_field="event_timestamp", created_timestamp_column="created")
    return FeatureView(name="clicks", entities=[USER], ttl=24 * HOUR, source=source, **given | changes)


def hourly_view(folder: Path) -> FeatureView:
    """A query over a file that grows, whose last two hours each run reads again."""
    query = "SELECT user, hour, sum(amount) AS spent FROM orders GROUP BY ALL"
    return FeatureView(
        name="hourly",
        entities=[USER],
        source=SqlSource(
            query=query,
            sources=[FileSource(path=str(folder / "orders-*.csv"), timestamp_field="hour", name="orders")],
            timestamp_field="hour",
            lookback=timedelta(0),
            late_by=2 * HOUR,
        ),
        schema=[Field(name="spent", dtype=Float64)],
    )


def orders(folder: Path, part: int, *, times: int = 1) -> None:
    """Write a file of the query's source: ten hours, and ten users in each."""
    lines = [
        f"{user},{(NOW - (30 - 10 * part - hour) * HOUR).isoformat()},{times * (user + hour)}"
        for hour in range(10)
        for user in range(10)
    ]
    (folder / f"orders-{part}.csv").write_text("\n".join(["user,hour,amount", *lines, ""]))


def sql_steps(told: Told, folder: Path) -> None:
    """A source that is run for intervals, again for its last hours, and for an interval of the past."""
    store = told.store
    for file in folder.glob("orders-*"):
        file.unlink()
    store.apply([FeatureService(name="spending", features=[hourly_view(folder)])])
    for part in (0, 1):
        orders(folder, part)
        report = store.ingest("hourly")
        told.say(f"part {part} of a query", report.written, report.notes)
    orders(folder, 0, times=3)
    done = store.backfill("hourly", NOW - 28 * HOUR, NOW - 22 * HOUR)
    told.say("computed anew", str(done.preview.counts))
    joined(told, "what was computed", "spending")


def buying(view: FeatureView, prices: FeatureView) -> FeatureService:
    gap = OnDemandFeatureView(
        name="gap",
        inputs=[view, prices],
        request=[Field(name="hour", dtype=Int64)],
        schema=[Field(name="off", dtype=Float64)],
        expressions={"off": "price - mean + hour"},
    )
    return FeatureService(name="buying", features=[view, prices, gap])


def rows(seed: int, count: int = 400) -> pa.Table:
    random = np.random.default_rng(seed)
    at = [NOW - timedelta(minutes=int(one)) for one in random.integers(1, 2000, count)]
    return pa.table(
        {
            "user": random.integers(0, 40, count),
            "event_timestamp": pa.array(at, pa.timestamp("us", "UTC")),
            "created": pa.array([one + HOUR for one in at], pa.timestamp("us", "UTC")),
            "price": [None if one < 0.1 else one * 10 - 1.5 for one in random.random(count).tolist()],
            "count": pa.array([2**53 + int(one) for one in random.integers(0, 9, count)], pa.int64()),
            "label": [f"grün-{one}" for one in random.integers(0, 3, count)],
            "path": [list(range(int(one))) for one in random.integers(0, 3, count)],
            "seen": pa.array(at, pa.timestamp("us", "UTC")),
        }
    )


def entities(count: int = 300) -> pa.Table:
    random = np.random.default_rng(9)
    at = [NOW - timedelta(minutes=int(one)) for one in random.integers(-60, 2500, count)]
    return pa.table(
        {
            "user": random.integers(0, 45, count),
            "event_timestamp": pa.array(at, pa.timestamp("us", "UTC")),
            "hour": random.integers(0, 24, count),
            "bought": random.integers(0, 2, count),
        }
    )


def joined(told: Told, step: str, service: str = "buying", **how: Any) -> None:
    told.table(step, told.store.get_historical_features(entities(), features=service, **how).to_arrow())


def prices_view(folder: Path) -> FeatureView:
    """A view of a CSV file with a cell that cannot be read."""
    file = folder / "prices.csv"
    lines = [f"{user},{(NOW - user * HOUR).isoformat()},{user}.5" for user in range(30)]
    file.write_text("\n".join(["user,at,mean", *lines, f"3,{NOW.isoformat()},dear", ""]))
    return FeatureView(
        name="prices",
        entities=[USER],
        source=FileSource(path=str(file), timestamp_field="at"),
        schema=[Field(name="mean", dtype=Float64, unique_within="table")],
    )


def steps(told: Told, folder: Path) -> None:
    """What is done to an offline store."""
    store = told.store
    view, prices = clicks(), prices_view(folder)
    store.apply([buying(view, prices)])
    for number in (1, 2, 3):
        store.ingest("clicks", rows(number), load_id=f"load-{number}")
    told.say("the same load", store.ingest("clicks", rows(3), load_id="load-3").skipped)
    told.say("a source", str(store.ingest("prices")), str(store.ingest("prices")))
    kept = store.quarantine("clicks")
    assert kept is not None
    told.table("kept aside", kept)
    joined(told, "as it was known", known_at="row", with_status=True)
    made = store.create_training_dataset("sales", entity_df=entities(), features="buying", label="bought")
    told.table("dataset", made.to_arrow())
    told.say("manifest", *(made.manifest[one] for one in ("content_hash", "column_hashes", "entity_rows_hash", "rows")))
    told.say("compacted", store.compact("clicks").rows)
    joined(told, "after compaction")
    told.say("reproduced", str(store.reproduce_dataset("sales")))
    told.say("restored", store.restore("clicks", to="load-1").rows_after)
    joined(told, "restored rows")
    receipt = store.erase("user", [{"user": one} for one in range(5)], request="R-1")
    told.say("erased", {one.place: one.rows for one in receipt.places})
    told.say("what is left of the dataset", str(store.reproduce_dataset("sales")))
    told.table("dataset after an erasure", store.get_training_dataset("sales").to_arrow())


def later_steps(told: Told, folder: Path) -> None:
    """The rest of what is done to one, for the long form."""
    store, view = told.store, clicks()
    prices = prices_view(folder)
    joined(told, "joined")
    joined(told, "as of", as_of=NOW + HOUR, full_feature_names=True)
    store.restore("clicks", to="load-3")
    withdrawn = store.withdraw("clicks", ["load-2"])
    told.say("withdrawn", withdrawn is not None and withdrawn.rows_after)
    joined(told, "with a load taken out")
    store.reinstate("clicks", ["load-2"])
    joined(told, "with the load again")
    lax = clicks(schema=[one if one.name != "price" else Field(name="price", dtype=Float64) for one in view.schema])
    store.apply([buying(lax, prices)])
    joined(told, "a new version", "buying@2")
    again = store.reingest_quarantine("clicks")
    told.say("kept aside, tried again", again.written, again.quarantined)
    joined(told, "with what was kept aside", "buying@2")
    taken = store.restore("clicks", to=store.loads("clicks")[0].load_id)
    told.say("restored", taken.rows_before, taken.rows_after)
    joined(told, "restored rows", "buying@2")
    store.materialize("clicks")
    served = store.get_online_features(
        features="buying", entity_rows=[{"user": one, "hour": 1} for one in range(45)]
    ).to_arrow()
    told.table("served", served)
    store.push("clicks", rows(5, 20).slice(0, 20))
    told.say("pushed", [one.rows_written for one in store.flush_pushes().loads])
    joined(told, "with pushed rows", "buying@2")
    withdrawn_again = store.ingest("clicks", rows(2), load_id="load-2")
    told.say("a load whose rows were carried over", withdrawn_again.written, withdrawn_again.skipped)
    joined(told, "with the load itself", "buying@2")
    scored = store.get_batch_features("buying", entities(50).select(["user", "hour"]), at=NOW, log=False)
    told.table("scored", scored.to_arrow())
    store.create_training_dataset("sales", entity_df=entities(), features="buying@2", label="bought")
    told.say("compared", store.diff_datasets("sales@1", "sales@2").to_json())
    sql_steps(told, folder)
    report = store.gc(now=datetime.now(UTC) + timedelta(days=400))
    told.say("garbage", sorted((one.kind, len(one.paths)) for one in report.removed))
    joined(told, "after gc", "buying@2")
    found = store.status()
    told.say("status", [(one["id"], one["rows"], one["quarantined"], one["loads"]) for one in found["views"]])


@pytest.fixture
def opened(
    tmp_path: Path, object_storage: ObjectStorage, spark_cluster: SparkSettings
) -> Callable[[str], FeatureStore]:
    """Open a store whose tables are in a place, and are joined by an engine."""

    def open_store(place: str) -> FeatureStore:
        folder = tmp_path / place
        FeatureStore.init(folder, project="contract").close()
        file = folder / "featurestore.toml"
        if place.endswith("s3"):
            said = file.read_text().replace(
                '[offline]\npath = "data/offline"\n', object_storage.settings(at=f"{object_storage.url}/{place}")
            )
            file.write_text(said)
        store = FeatureStore(folder)
        if place.startswith("spark"):
            spark = SparkConfig(master=spark_cluster.master, conf=dict(spark_cluster.conf))
            offline = store.config.offline.model_copy(update={"engine": "spark", "spark": spark})
            store.config = store.config.model_copy(update={"offline": offline})
        return store

    return open_store


def same_everywhere(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that compares all of them."""
    for mark in backends.marks("offline", *PLACES):
        test = mark(test)
    return test


@same_everywhere
@pytest.mark.timeout(600)  # it waits for a cluster of Spark to start
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_answers_are_the_same_in_every_place_and_by_every_engine(
    opened: Callable[[str], FeatureStore], tmp_path: Path, whole: bool
) -> None:
    answers = {}
    for place in PLACES:
        with opened(place) as store:
            told = Told(store)
            steps(told, tmp_path)
            if whole:
                later_steps(told, tmp_path)
            answers[place] = told.answers
    for place in PLACES[1:]:
        assert answers[place] == answers["disk"], place
    kept = {place: list((tmp_path / place).rglob("*/*.parquet")) for place in PLACES}
    assert [bool(files) for files in kept.values()] == [True, False, True, False], "rows are on a disk, or are not"
