"""Backfill: the rows of an interval give way to those that the source gives now, in one snapshot, or not at all."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    Model,
    PushSource,
    Source,
    SqlSource,
)
from featurestore.errors import DataError, LoadRefusedError, TableConflictError
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.intake.preview import BackfillReport, Preview
from featurestore.offline.sources.intervals import Interval
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import Float64, Int64, Timestamp

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(hour: float) -> datetime:
    return START + hour * HOUR


def temps(values: dict[int, float], origin: str = "JFK", **columns: Sequence[Any]) -> pa.Table:
    """Rows of a thermometer, by hour."""
    instants = pa.array([at(hour) for hour in values], pa.timestamp("us", tz="UTC"))
    made = {"origin": [origin] * len(values), "temp": list(values.values()), "event_timestamp": instants}
    return pa.table(made | columns)


def view_of(source: Source | None = None, **options: Any) -> FeatureView:
    options = {"schema": [Field(name="temp", dtype=Float64, le=200)]} | options
    return FeatureView(
        name="weather",
        entities=[Entity(name="airport", join_keys=["origin"])],
        source=source or FileSource(path="in/*.parquet"),
        **options,
    )


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write a table as a file of the source."""

    def write(table: pa.Table, name: str = "a.parquet") -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path)
        return path

    return write


def stored(store: OfflineStore, view: FeatureView) -> dict[tuple[str, float], float]:
    """Return what counts, by key and hour."""
    rows = store.rows_by_event_time(view, after=None).read_all().to_pylist()
    return {(row["origin"], (row["event_timestamp"] - START) / HOUR): row["temp"] for row in rows}


def counts_of(report: BackfillReport) -> tuple[int, int, int, int]:
    counts = report.preview.counts
    return counts.added, counts.changed, counts.removed, counts.unchanged


def leftovers(store: OfflineStore, view: FeatureView) -> set[str]:
    """Return the data files in the table's folder that no version of it names."""
    table = store.table(view)
    version = table.version()
    named = {one.name for number in range(1, (version or 0) + 1) for one in table.snapshot(number).files}
    return {one.name for one in table.path.glob("*.parquet")} - named


# What it does


def test_the_rows_of_the_interval_and_no_others_are_replaced(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(temps(dict.fromkeys(range(10), 0.0)))
    store.ingest_source(view, who="ada")
    put(temps({0: 9.0, 3: 9.0, 4: 0.0, 5: 9.0, 9: 9.0} | {3.5: 7.0}))
    report = store.backfill(view, at(3), at(6), who="ada", reason="a broken sensor")
    assert counts_of(report) == (1, 2, 0, 1)
    expected = {("JFK", float(hour)): 0.0 for hour in range(10)}
    assert stored(store, view) == expected | {("JFK", 3): 9.0, ("JFK", 3.5): 7.0, ("JFK", 5): 9.0}
    assert store.table(view).snapshot().rows == 11
    assert leftovers(store, view) == set()


def test_rows_that_are_gone_from_the_source_go(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(temps(dict.fromkeys(range(5), 0.0)))
    store.ingest_source(view, who="ada")
    put(temps({0: 0.0, 4: 0.0}))
    report = store.backfill(view, at(1), at(3), who="ada")
    assert counts_of(report) == (0, 0, 2, 0)
    said = "2 rows go as the source has them no more; see that it is whole: only a.parquet was read"
    assert said in report.preview.notes
    assert report.load is not None
    assert report.load.rows_written == 0
    assert sorted(hour for _, hour in stored(store, view)) == [0, 3, 4]


def test_ties_of_the_interval_go_with_it(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(temps({1: 1.0}))
    store.ingest_source(view, who="ada")
    store.ingest(view, temps({1: 2.0}), who="ada")
    put(temps({1: 3.0}))
    assert counts_of(store.backfill(view, at(0), at(2), who="ada")) == (0, 1, 0, 0)
    assert store.table(view).snapshot().rows == 1
    assert stored(store, view) == {("JFK", 1): 3.0}


def test_the_snapshot_before_stays_and_the_commit_says_what_was_done(
    store: OfflineStore, registry: Registry, put: Callable[..., Path]
) -> None:
    view = view_of()
    put(temps({0: 0.0, 1: 0.0}))
    store.ingest_source(view, who="ada")
    table = store.table(view)
    before = table.version()
    put(temps({1: 5.0}))
    report = store.backfill(view, at(1), at(2), who="bob", reason="sensor 7")
    assert table.snapshot(before).rows == 2
    commit = list(table.commits(before))[-1]
    assert commit.change is not None
    assert commit.load is not None
    assert (commit.change.action, commit.change.author, commit.change.reason) == ("backfill", "bob", "sensor 7")
    assert report.load is not None
    assert commit.load.load_id == report.load.load_id
    entry = next(one for one in registry.audit() if one.action == "backfill")
    assert (entry.who, entry.details["reason"], entry.details["rows_changed"]) == ("bob", "sensor 7", 1)
    assert entry.details["from"] == at(1).isoformat()


def test_the_snapshot_before_can_be_restored_and_the_backfill_done_again(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    view = view_of()
    put(temps({0: 0.0, 1: 0.0}))
    first = store.ingest_source(view, who="ada").loads[0]
    put(temps({1: 5.0}))
    store.backfill(view, at(0), at(2), who="ada")
    store.restore(view, store.find_state(view, first.load_id), who="ada")
    assert stored(store, view) == {("JFK", 0): 0.0, ("JFK", 1): 0.0}
    assert [one.load_id for one in store.loads(view)] == [first.load_id]
    assert counts_of(store.backfill(view, at(0), at(2), who="ada")) == (0, 1, 1, 0)


def test_loads_and_watermarks_hold(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of(
        SqlSource(
            query="SELECT * FROM temps",
            sources=[FileSource(name="temps", path="in/*.parquet")],
            lookback=timedelta(0),
        )
    )
    put(temps({0: 0.0, 1: 0.0}))
    store.ingest_source(view, who="ada")
    put(temps({0: 5.0, 1: 0.0}))
    assert counts_of(store.backfill(view, at(0), at(1), who="ada")) == (0, 1, 0, 0)
    put(temps({2: 0.0}), "b.parquet")
    report = store.ingest_source(view, who="ada")
    assert report.written == 1
    assert [load.rows_written for load in store.loads(view)] == [2, 1, 1]
    assert stored(store, view) == {("JFK", 0): 5.0, ("JFK", 1): 0.0, ("JFK", 2): 0.0}


def test_an_incremental_source_looks_back_beyond_the_interval(store: OfflineStore, put: Callable[..., Path]) -> None:
    trailing = """
        SELECT origin, event_timestamp, sum(temp) OVER (PARTITION BY origin ORDER BY event_timestamp
            RANGE INTERVAL 2 HOURS PRECEDING) AS temp FROM temps
    """
    source = SqlSource(
        query=trailing, sources=[FileSource(name="temps", path="in/*.parquet")], lookback=timedelta(hours=2)
    )
    view = view_of(source)
    put(temps(dict.fromkeys(range(8), 1.0)))
    store.ingest_source(view, who="ada")
    put(temps({hour: 10.0 if hour == 2 else 1.0 for hour in range(8)}))
    assert counts_of(store.backfill(view, at(2), at(6), who="ada")) == (0, 3, 0, 1)
    assert [stored(store, view)["JFK", hour] for hour in range(1, 7)] == [2.0, 12.0, 12.0, 12.0, 3.0, 3.0]


@pytest.mark.parametrize("options", [{}, {"on_bad_rows": "reject"}])
def test_rows_after_the_interval_that_look_back_into_it_are_named_until_they_are_right(
    store: OfflineStore, tmp_path: Path, put: Callable[..., Path], options: dict[str, Any]
) -> None:
    trailing = """
        SELECT origin, event_timestamp, sum(temp) OVER (PARTITION BY origin ORDER BY event_timestamp
            RANGE INTERVAL 2 HOURS PRECEDING) AS temp FROM temps
    """
    source = SqlSource(
        query=trailing, sources=[FileSource(name="temps", path="in/*.parquet")], lookback=timedelta(hours=2)
    )
    view = view_of(source, **options)
    put(temps(dict.fromkeys(range(8), 1.0)))
    store.ingest_source(view, who="ada")
    # An hour later the source has a row that fails the checks: it may not keep the interval from being mended.
    put(temps({hour: {2: 10.0, 3: 300.0, 4: -292.0}.get(hour, 1.0) for hour in range(8)}))
    for _ in range(2):  # the second time the interval itself is as it should be
        preview = store.backfill(view, at(2), at(3), who="ada").preview
        assert preview.following is not None
        assert preview.following.interval == Interval(at(3), at(5))
        assert (preview.following.counts.changed, preview.following.counts.removed) == (1, 1)
        assert "not enough: 2 rows from 2013-01-01T03:00:00Z to 2013-01-01T05:00:00Z" in str(preview)
    put(temps({hour: 10.0 if hour == 2 else 1.0 for hour in range(8)}))
    after = store.backfill(view, at(3), at(5), who="ada").preview
    assert (after.counts.changed, after.following) == (2, None)
    assert store.backfill(view, at(2), at(3), who="ada").preview.following is None
    assert leftovers(store, view) == set()
    assert not list((tmp_path / "data").rglob("quarantine/**/backfill-*"))


def test_nothing_is_published_where_nothing_changes(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(temps({0: 0.0, 1: 0.0}))
    store.ingest_source(view, who="ada")
    version = store.table_version(view)
    asked: list[Preview] = []
    report = store.backfill(view, at(0), at(5), who="ada", confirm=lambda one: bool(asked.append(one)))
    assert (report.published, report.preview.is_empty, asked) == (False, True, [])
    assert store.table_version(view) == version
    assert leftovers(store, view) == set()


def test_what_is_not_confirmed_leaves_no_trace(store: OfflineStore, put: Callable[..., Path], tmp_path: Path) -> None:
    view = view_of()
    put(temps({0: 0.0, 1: 0.0}))
    store.ingest_source(view, who="ada")
    version = store.table_version(view)
    put(temps({0: 5.0, 1: 999.0}))
    report = store.backfill(view, at(0), at(5), who="ada", confirm=lambda _: False)
    assert counts_of(report) == (0, 1, 1, 0)
    assert report.preview.quarantined == {"temp is over 200": 1}
    assert store.table_version(view) == version
    assert leftovers(store, view) == set()
    assert not list((tmp_path / "data").rglob("backfill-*"))
    assert [one.load_id.partition("-")[0] for one in store.loads(view)] == ["source"]


def test_bad_rows_are_kept_aside(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(temps({0: 0.0, 1: 0.0}))
    store.ingest_source(view, who="ada")
    put(temps({0: 5.0, 1: 999.0}))
    report = store.backfill(view, at(0), at(5), who="ada")
    assert report.load is not None
    assert (report.load.rows_read, report.load.rows_written, report.load.rows_quarantined) == (2, 1, 1)
    assert stored(store, view) == {("JFK", 0): 5.0}


def test_a_view_that_rejects_bad_rows_keeps_what_it_has(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of(on_bad_rows="reject")
    put(temps({0: 0.0}))
    store.ingest_source(view, who="ada")
    put(temps({0: 999.0}))
    with pytest.raises(LoadRefusedError, match="temp is over 200"):
        store.backfill(view, at(0), at(5), who="ada")
    assert stored(store, view) == {("JFK", 0): 0.0}
    assert leftovers(store, view) == set()


def test_what_may_not_repeat_within_the_table_is_not_held_against_the_new_rows(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    view = view_of(schema=[Field(name="temp", dtype=Float64, unique_within="table")])
    put(temps({hour: float(hour) for hour in range(6)}))
    store.ingest_source(view, who="ada")
    put(temps({2: 2.0, 3: 30.0, 4: 0.0}))
    report = store.backfill(view, at(2), at(5), who="ada")
    assert counts_of(report) == (0, 1, 1, 1)
    assert report.preview.quarantined == {"temp repeats within the table": 1}
    assert sorted(stored(store, view).values()) == [0.0, 1.0, 2.0, 5.0, 30.0]


def test_a_view_that_was_never_ingested_gets_the_interval(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(temps({0: 0.0, 1: 1.0, 2: 2.0}))
    report = store.backfill(view, at(1), at(2), who="ada")
    assert counts_of(report) == (1, 0, 0, 0)
    assert stored(store, view) == {("JFK", 1): 1.0}


NEAR = 0.1 + 0.2


@pytest.mark.parametrize(
    ("before", "after", "computed", "passed"),
    [
        (0.3, NEAR, 0, 1),
        (0.3, 0.3000001, 1, 1),
        (0.0, 1e-300, 1, 1),
        (float("inf"), 5.0, 1, 1),
        (float("inf"), float("-inf"), 1, 1),
        (float("nan"), float("nan"), 0, 0),
        (float("nan"), 1.0, 1, 1),
        (None, 1.0, 1, 1),
    ],
)
def test_the_last_bits_of_what_is_computed_are_no_change_and_of_what_is_passed_they_are(
    store: OfflineStore, put: Callable[..., Path], before: float, after: float, computed: int, passed: int
) -> None:
    file = FileSource(path="in/*.parquet", name="temps")
    query = SqlSource(query="SELECT * FROM temps", sources=[file])
    for source, changed in ((query, computed), (file, passed)):
        view = replace(view_of(source, schema=[Field(name="temp", dtype=Float64)]), name=source.spec()["kind"])
        put(temps({0: before}))
        store.ingest_source(view, who="ada")
        put(temps({0: after}))
        report = store.backfill(view, at(0), at(1), who="ada", confirm=lambda _: False)
        assert report.preview.counts.changed == changed


# Sources


@pytest.mark.parametrize("columns", [{}, {"loaded_at": pa.array([at(9), at(9)])}])
def test_files_of_one_source_may_have_other_types_and_columns_each(
    store: OfflineStore, put: Callable[..., Path], columns: dict[str, Any]
) -> None:
    view = view_of()
    put(temps({0: 0.0, 1: 1.0}, **columns))
    put(temps({1: 5, 2: 6}), "b.parquet")  # integers; and the later file's row counts
    assert counts_of(store.backfill(view, at(0), at(9), who="ada")) == (3, 0, 0, 0)
    assert stored(store, view) == {("JFK", 0): 0.0, ("JFK", 1): 5.0, ("JFK", 2): 6.0}


def test_csv_files_are_read_by_the_views_types(store: OfflineStore, tmp_path: Path) -> None:
    view = view_of(FileSource(path="in/*.csv"))
    (tmp_path / "in").mkdir()
    for name, cell in (("a", "1.5"), ("b", "warm")):
        (tmp_path / "in" / f"{name}.csv").write_text(
            f"origin,temp,event_timestamp\n007,{cell},2013-01-01T00:00:00Z\n007,1,2013-01-02\n"
        )
    report = store.backfill(view, at(0), at(1), who="ada")
    assert (counts_of(report), report.preview.quarantined) == ((1, 0, 0, 0), {"temp is not Float64": 1})
    assert stored(store, view) == {("007", 0): 1.5}


def test_the_column_of_instants_may_be_a_feature_too(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of(
        FileSource(path="in/*.parquet", timestamp_field="seen", created_timestamp_column="loaded_at"),
        schema=[Field(name="temp", dtype=Float64), Field(name="seen", dtype=Timestamp)],
    )
    for name in ("a.parquet", "b.parquet"):
        rows = temps({0: 1.0}).rename_columns(["origin", "temp", "seen"])
        put(rows.append_column("loaded_at", rows.column("seen")), name)
    assert counts_of(store.backfill(view, at(0), at(1), who="ada")) == (1, 0, 0, 0)
    row = store.rows_by_event_time(view, after=None).read_all().to_pylist()[0]
    assert (row["seen"], row["event_timestamp"], row["created_timestamp"]) == (at(0), at(0), at(0))


def test_a_delta_table_is_read_as_it_is_now(store: OfflineStore, tmp_path: Path) -> None:
    view = view_of(FileSource(path="lake", format="delta"))
    write_deltalake(tmp_path / "lake", temps({0: 0.0, 1: 0.0}))
    store.ingest_source(view, who="ada")
    write_deltalake(tmp_path / "lake", temps({1: 5.0}), mode="overwrite")
    assert counts_of(store.backfill(view, at(0), at(9), who="ada")) == (0, 1, 1, 0)


def test_a_query_without_lookback_runs_whole_and_the_interval_is_kept(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    query = "SELECT origin, event_timestamp, sum(temp) OVER (ORDER BY event_timestamp) AS temp FROM temps"
    view = view_of(SqlSource(query=query, sources=[FileSource(name="temps", path="in/*.parquet")]))
    put(temps(dict.fromkeys(range(4), 1.0)))
    assert counts_of(store.backfill(view, at(2), at(3), who="ada")) == (1, 0, 0, 0)
    assert stored(store, view) == {("JFK", 2): 3.0}


@pytest.mark.parametrize("source", [None, PushSource(name="clicks")])
def test_rows_that_were_passed_cannot_be_read_again(store: OfflineStore, source: Source | None) -> None:
    with pytest.raises(DataError, match="has no source to read again") as raised:
        store.backfill(replace(view_of(), source=source), at(0), at(1), who="ada")
    assert "store.ingest" in raised.value.hint


def test_an_interval_that_ends_before_it_begins_is_refused(store: OfflineStore) -> None:
    with pytest.raises(DataError, match="ends at 2013-01-01T00:00:00Z, before it begins"):
        store.backfill(view_of(), at(0), at(0), who="ada")


# What it says


def test_examples_show_the_oldest_values_that_change_and_hide_personal_data(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    view = view_of(
        schema=[Field(name="temp", dtype=Float64), Field(name="pay", dtype=Int64, tags={"pii": "true"})],
    )
    hours = range(5)
    put(temps(dict.fromkeys(hours, 0.0), pay=[0] * 5))
    store.ingest_source(view, who="ada")
    put(temps({hour: float(hour) for hour in hours}, pay=[4711] * 5))
    preview = store.backfill(view, at(0), at(9), who="ada", confirm=lambda _: False).preview
    assert [(one.name, one.rows) for one in preview.features] == [("temp", 4), ("pay", 5)]
    temp, pay = preview.features
    assert temp.examples is not None
    assert [str(one) for one in temp.examples] == [
        f"origin=JFK at 2013-01-01T0{hour}:00:00Z: 0.0 -> {hour}.0" for hour in (1, 2, 3)
    ]
    assert pay.examples is None
    assert "4711" not in str(preview) + str(preview.to_json())


def test_it_names_the_datasets_and_models_that_the_interval_may_have_reached(
    store: OfflineStore, registry: Registry, put: Callable[..., Path]
) -> None:
    view = view_of(ttl=timedelta(hours=3))
    put(temps(dict.fromkeys(range(40), 0.0)))
    store.ingest_source(view, who="ada")
    registry.apply([view, FeatureService(name="delay", features=[view])], who="ada")
    service = registry.service("delay")
    for name, hours in (("early", (0, 3)), ("near", (11, 12)), ("late", (20, 30))):
        rows = [{"origin": "JFK", "event_timestamp": at(hour), "late": 1.0} for hour in hours]
        store.create_dataset(name, service, rows, Recipe(label="late"), who="ada")
        registry.record_model(Model(name=f"of_{name}", service="delay@1", dataset=f"{name}@1"), who="ada")
    put(temps(dict.fromkeys(range(40), 1.0)))
    preview = store.backfill(view, at(8), at(9), who="ada", confirm=lambda _: False).preview
    assert (preview.datasets, preview.models) == (("near@1",), ("of_near@1",))
    wide = store.backfill(view, at(3), at(21), who="ada", confirm=lambda _: False).preview
    assert wide.datasets == ("early@1", "near@1", "late@1")


# Many writers


def test_rows_of_the_interval_that_come_in_meanwhile_stop_it(
    store: OfflineStore, config: Config, registry: Registry, put: Callable[..., Path]
) -> None:
    view = view_of()
    put(temps({0: 0.0, 5: 0.0}))
    store.ingest_source(view, who="ada")
    put(temps({0: 1.0, 5: 1.0}))

    def confirm(_: Preview) -> bool:
        OfflineStore(config, registry).ingest(view, temps({0: 2.0}), who="bob")
        return True

    with pytest.raises(TableConflictError, match="came in while it was backfilled"):
        store.backfill(view, at(0), at(6), who="ada", confirm=confirm)
    assert stored(store, view) == {("JFK", 0): 2.0, ("JFK", 5): 0.0}
    assert leftovers(store, view) == set()


def test_rows_outside_of_the_interval_and_a_new_arrangement_of_files_do_not_stop_it(
    store: OfflineStore, config: Config, registry: Registry, put: Callable[..., Path]
) -> None:
    view = view_of()
    put(temps({0: 0.0, 3: 0.0, 5: 0.0}))
    store.ingest_source(view, who="ada")
    put(temps({3: 1.0}))

    def confirm(_: Preview) -> bool:
        other = OfflineStore(config, registry)
        other.ingest(view, temps({1: 2.0, 6: 2.0}), who="bob")
        other.compact(view, who="bob")
        return True

    store.backfill(view, at(3), at(4), who="ada", confirm=confirm)
    assert stored(store, view) == {("JFK", 0): 0.0, ("JFK", 1): 2.0, ("JFK", 3): 1.0, ("JFK", 5): 0.0, ("JFK", 6): 2.0}
    assert leftovers(store, view) == set()


def test_rows_that_were_set_aside_before_files_were_merged_are_not_put_back_twice_or_lost(
    store: OfflineStore, config: Config, registry: Registry, put: Callable[..., Path]
) -> None:
    # What may not repeat is looked up in the rest of the table before the rows are read.
    view = view_of(schema=[Field(name="temp", dtype=Float64, unique_within="table")])
    put(temps({0: 0.0, 3: 3.0, 5: 5.0}))
    store.ingest_source(view, who="ada")
    store.ingest(view, temps({8: 8.0, 9: 9.0}), who="ada")  # a file that the interval does not touch
    put(temps({3: 30.0}))

    def confirm(_: Preview) -> bool:
        OfflineStore(config, registry).compact(view, who="bob")
        return True

    store.backfill(view, at(3), at(4), who="ada", confirm=confirm)
    assert list(stored(store, view).values()) == [0.0, 30.0, 5.0, 8.0, 9.0]
    assert store.table(view).snapshot().rows == 5
    assert leftovers(store, view) == set()


# Against an oracle


_numbers = itertools.count()
_files = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 2)), max_size=12),
    min_size=1,
    max_size=3,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_files, after=_files, first=st.integers(0, 9), length=st.integers(1, 10))
def test_any_interval_of_any_table_becomes_what_the_source_gives(
    store: OfflineStore,
    tmp_path: Path,
    before: list[list[tuple[str, int, int]]],
    after: list[list[tuple[str, int, int]]],
    first: int,
    length: int,
) -> None:
    folder = tmp_path / f"in{next(_numbers)}"
    folder.mkdir()
    view = replace(view_of(FileSource(path=f"{folder.name}/*.parquet")), name=folder.name)

    def write(files: list[list[tuple[str, int, int]]]) -> dict[tuple[str, float], float]:
        for old in folder.iterdir():
            old.unlink()
        for number, rows in enumerate(files):
            columns = {
                "origin": pa.array([row[0] for row in rows], pa.string()),
                "temp": pa.array([float(row[2]) for row in rows], pa.float64()),
                "event_timestamp": pa.array([at(row[1]) for row in rows], pa.timestamp("us", "UTC")),
            }
            file = folder / f"{number}.parquet"
            pq.write_table(pa.table(columns), file)
            os.utime(file, ns=(next(_numbers), next(_numbers)))
        return {(key, float(hour)): float(value) for rows in files for key, hour, value in rows}

    old = write(before)
    store.ingest_source(view, who="ada")
    new = write(after)
    inside = range(first, first + length)
    report = store.backfill(view, at(first), at(first + length), who="ada")
    expected = {row: value for row, value in old.items() if row[1] not in inside}
    expected |= {row: value for row, value in new.items() if row[1] in inside}
    assert stored(store, view) == expected
    was = {row: value for row, value in old.items() if row[1] in inside}
    becomes = {row: value for row, value in new.items() if row[1] in inside}
    changed = sum(was[row] != becomes[row] for row in was.keys() & becomes.keys())
    assert counts_of(report) == (
        len(becomes.keys() - was.keys()),
        changed,
        len(was.keys() - becomes.keys()),
        len(was.keys() & becomes.keys()) - changed,
    )
    assert leftovers(store, view) == set()
