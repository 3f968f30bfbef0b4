"""What arrives broken ends as one clear line or in quarantine; readers keep what was there, and nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.config import Config
from featurestore.definitions import FeatureView, Field, FileSource, SqlSource
from featurestore.errors import DataError, DefinitionError, FeatureStoreError, SchemaError, TimestampError
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import Float64, Int64, String

START = datetime(2013, 1, 1, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]
LONG = "c" * 300


@pytest.fixture
def sourced(config: Config, view: FeatureView, weather_rows: Rows) -> FeatureView:
    """Return the view over files, of which one is there."""
    write(config, "1.parquet", pa.Table.from_pylist(weather_rows(range(3))))
    return replace(
        view, source=FileSource(path="in/*.parquet", timestamp_field="event_timestamp", created_timestamp_column=None)
    )


def write(config: Config, name: str, rows: pa.Table) -> Path:
    file = config.root / "in" / name
    file.parent.mkdir(exist_ok=True)
    pq.write_table(rows, file)
    return file


def rows_in(store: OfflineStore, view: FeatureView) -> int:
    return store.rows_by_event_time(view, after=None).read_all().num_rows


def test_what_changed_upstream_is_one_line_and_the_last_good_snapshot_stays(
    config: Config, store: OfflineStore, sourced: FeatureView, weather_rows: Rows
) -> None:
    store.ingest_source(sourced, who="ada")
    good = pa.Table.from_pylist(weather_rows(range(3, 6)))
    changes = {
        "lost.parquet": (good.drop_columns(["wind"]), 'no column "wind"'),
        "renamed.parquet": (good.rename_columns(["origin", "temperature", "wind", "event_timestamp"]), '"temp"'),
        "retyped.parquet": (good.set_column(1, "temp", pa.array(["1", "2", "3"])), 'Column "temp" of .* is string'),
        "naive.parquet": (good.set_column(3, "event_timestamp", pa.array([START.replace(tzinfo=None)] * 3)), "no time"),
    }
    for name, (rows, said) in changes.items():
        file = write(config, name, rows)
        with pytest.raises(DataError, match=said) as refused:
            store.ingest_source(sourced, who="ada")
        assert "\n" not in refused.value.message
        file.unlink()
        assert rows_in(store, sourced) == 3
    write(config, "gained.parquet", good.append_column("humidity", pa.array([1, 2, 3])))
    report = store.ingest_source(sourced, who="ada")
    assert (report.written, rows_in(store, sourced)) == (3, 6)
    assert 'ignored columns that the schema does not name: "humidity"' in report.notes


@pytest.mark.parametrize("cut", [0, 1, 3, 7, 100, -1, -4, -9])
def test_a_file_that_was_cut_anywhere_is_refused(
    config: Config, store: OfflineStore, sourced: FeatureView, weather_rows: Rows, cut: int
) -> None:
    file = write(config, "2.parquet", pa.Table.from_pylist(weather_rows(range(3, 6))))
    whole = file.read_bytes()
    file.write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"2\.parquet cannot be read"):
        store.ingest_source(sourced, who="ada")
    assert rows_in(store, sourced) == 3
    file.write_bytes(whole)
    assert store.ingest_source(sourced, who="ada").written == 3
    assert rows_in(store, sourced) == 6


def test_a_column_with_a_long_name_is_ignored_and_no_field_may_have_one(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    report = store.ingest(view, weather_rows(**{LONG: 1}), who="ada")
    assert report.notes == (f'ignored columns that the schema does not name: "{LONG}"',)
    with pytest.raises(DefinitionError, match="cannot name a field"):
        Field(name=LONG, dtype=Int64)


def test_nan_and_infinities_are_values_unless_a_limit_says_otherwise(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    free = replace(view, schema=[Field(name="temp", dtype=Float64), Field(name="wind", dtype=Int64)])
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, None]
    rows = [row | {"temp": value} for row, value in zip(weather_rows(range(6)), odd, strict=True)]
    # A list of dicts with None would make pandas' NaN of it; Arrow keeps both apart.
    assert store.ingest(free, pa.Table.from_pylist(rows), who="ada").written == 6
    frame = pl.from_arrow(store.rows_by_event_time(free, after=None).read_all())
    assert isinstance(frame, pl.DataFrame)
    back = frame["temp"].to_list()
    assert repr(back) == repr(odd)
    assert store.ingest(view, pa.Table.from_pylist(rows), who="ada").reasons == {
        "temp is under -80": 2,
        "temp is over 140": 1,
    }


def test_two_columns_of_one_name_are_refused_in_every_form(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, config: Config
) -> None:
    rows = pa.Table.from_pylist(weather_rows())
    doubled = rows.append_column("temp", rows["temp"])
    for form in (doubled, doubled.to_reader(), doubled.to_batches()[0]):
        with pytest.raises(DataError, match='columns "temp"'):
            store.ingest(view, form, who="ada")
    file = config.root / "doubled.csv"
    file.write_text("origin,temp,temp,wind,event_timestamp\nJFK,1,2,3,2013-01-01T00:00:00Z\n")
    with pytest.raises(FeatureStoreError, match="temp"):
        store.ingest(view, file, who="ada")
    assert store.table_version(view) is None


def test_a_broken_line_far_down_publishes_nothing(store: OfflineStore, view: FeatureView, config: Config) -> None:
    file = config.root / "broken.csv"
    lines = [f"JFK,{n % 50},{n},{(START + timedelta(minutes=n)).isoformat()}" for n in range(150_000)]
    lines[140_000] = 'JFK,1,"2'
    file.write_text("\n".join(["origin,temp,wind,event_timestamp", *lines]))
    with pytest.raises(DataError, match=r"broken\.csv cannot be read: line 140002"):
        store.ingest(view, file, who="ada")
    assert store.table_version(view) is None
    assert not list(config.root.rglob("*.parquet"))


@pytest.fixture(params=[None, timedelta(0)], ids=["whole", "lookback"])
def queried(request: pytest.FixtureRequest, config: Config, view: FeatureView) -> Callable[..., FeatureView]:
    """Return the view as a query over files, with and without a lookback."""
    (config.root / "in").mkdir()

    def make(query: str = "SELECT origin, temp, wind, seen AS event_timestamp FROM readings", **changes: Any) -> Any:
        files = FileSource(name="readings", path=changes.pop("path", "in/*.csv"), timestamp_field="seen")
        source = SqlSource(query=query, sources=[files], lookback=changes.pop("lookback", request.param))
        return replace(view, source=source, **changes)

    return make


def csv(config: Config, name: str, *lines: str, header: str = "origin,temp,wind,seen") -> Path:
    file = config.root / "in" / name
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


GOOD = "JFK,40.5,1,2013-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["JFK,5.5,1,2013-01-01T01:00:00Z"] * 2 + ["JFK,4,4,2013-01-01T02:00:00Z,4"], "line 4: Expected .* Found: 5"),
        (["JFK,4,4,2013-01-01T02:00:00Z,9"] * 200, "line 2: Expected Number of Columns: 4 Found: 5"),
        ([GOOD] * 100 + ["JFK,4"] + [GOOD] * 100, "line 102: Expected Number of Columns: 4 Found: 2"),
        ([GOOD] * 5 + ['JFK,"4,1,2013-01-01T02:00:00Z'], "line 7: Value with unterminated quote found"),
    ],
)
def test_a_broken_line_below_a_query_is_named_and_no_row_is_lost(
    config: Config, store: OfflineStore, queried: Callable[..., FeatureView], lines: list[str], said: str
) -> None:
    csv(config, "a.csv", GOOD)
    view = queried()
    store.ingest_source(view, who="ada")
    file = csv(config, "b.csv", *lines)
    for query in (view, queried("SELECT origin, 1.0 AS temp, 1 AS wind, seen AS event_timestamp FROM readings")):
        with pytest.raises(DataError, match=rf": b\.csv cannot be read: {said}\.$") as refused:
            store.ingest_source(query, who="ada")
        assert len(refused.value.message) < 160
    assert rows_in(store, view) == 1
    file.unlink()
    csv(config, "b.csv", "JFK,41.5,2,2013-01-01T01:00:00+00:00")
    store.ingest_source(view, who="ada")
    assert {row["temp"] for row in store.rows_by_event_time(view, after=None).read_all().to_pylist()} == {40.5, 41.5}


NAIVE = "JFK,41.5,2,2013-01-01 01:00:00"


def test_files_with_and_without_zones_below_a_query_are_refused(
    config: Config, store: OfflineStore, queried: Callable[..., FeatureView], weather_rows: Rows
) -> None:
    zoned, naive = csv(config, "a.csv", GOOD), csv(config, "b.csv", NAIVE)
    with pytest.raises(TimestampError, match=r'b\.csv names no time zone in column "seen", and a\.csv does') as refused:
        store.ingest_source(queried(), who="ada")
    assert "2013-01-01T07:00:00Z" in refused.value.hint
    zoned.unlink()
    naive.write_text(f"{naive.read_text()}{GOOD}\n")
    with pytest.raises(TimestampError, match=r'b\.csv names no time zone in some instants of column "seen"'):
        store.ingest_source(queried(), who="ada")

    parquet = queried(path="in/*.parquet")
    rows = pa.Table.from_pylist(weather_rows()).rename_columns(["origin", "temp", "wind", "seen"])
    naive_rows = rows.set_column(3, "seen", rows["seen"].cast(pa.timestamp("us")))
    for one, other in ((rows, naive_rows), (naive_rows, rows)):
        write(config, "1.parquet", one)
        write(config, "2.parquet", other)
        bare, said = ("2", "1") if other is naive_rows else ("1", "2")
        with pytest.raises(TimestampError, match=rf"{bare}\.parquet names no .* and {said}\.parquet does"):
            store.ingest_source(parquet, who="ada")
    assert store.table_version(parquet) is None


def test_where_no_file_names_a_zone_the_query_says_it(
    config: Config, store: OfflineStore, queried: Callable[..., FeatureView], weather_rows: Rows
) -> None:
    said = "SELECT origin, temp, wind, seen AT TIME ZONE 'Europe/Berlin' AS event_timestamp FROM readings"
    csv(config, "a.csv", NAIVE, "JFK,1,2,2013-01-02")
    csv(config, "b.csv", NAIVE.replace("01:00:00", "02:00:00"))
    rows = pa.Table.from_pylist(weather_rows([1, 2])).rename_columns(["origin", "temp", "wind", "seen"])
    write(config, "1.parquet", rows.set_column(3, "seen", rows["seen"].cast(pa.timestamp("us"))))
    for path, hours in (("in/*.csv", [0, 1, 23]), ("in/*.parquet", [0, 1])):
        view = queried(said, path=path, lookback=None, name=f"read_{len(hours)}")
        store.ingest_source(view, who="ada")
        found = store.rows_by_event_time(view, after=None).read_all()["event_timestamp"].to_pylist()
        assert found == [START + timedelta(hours=hour) for hour in hours]
        with pytest.raises(TimestampError, match="names no time zone"):
            store.ingest_source(queried(said, path=path, lookback=timedelta(0), name="cut"), who="ada")


def test_a_column_lost_below_a_query_is_refused_and_one_gained_is_told(
    config: Config, store: OfflineStore, queried: Callable[..., FeatureView], weather_rows: Rows
) -> None:
    rows = pa.Table.from_pylist(weather_rows(range(3))).rename_columns(["origin", "temp", "wind", "seen"])
    later = pa.Table.from_pylist(weather_rows(range(3, 6))).rename_columns(rows.column_names)
    view = queried(path="in/*.parquet")
    write(config, "1.parquet", rows)
    store.ingest_source(view, who="ada")
    changes = {
        r'0\.parquet has no column "wind", which the older file 1\.parquet has': later.drop_columns(["wind"]),
        'column "temp" of 1.parquet is double, and that of 0.parquet string': later.set_column(
            1, "temp", pa.array(["1", "2", "3"])
        ),
    }
    for said, changed in changes.items():
        # Its name stands before that of the other: what is newer, the time of change says.
        file = write(config, "0.parquet", changed)
        with pytest.raises(SchemaError, match=said):
            store.ingest_source(view, who="ada")
        file.unlink()
        assert rows_in(store, view) == 3
    csv(config, "1.csv", GOOD)
    csv(config, "2.csv", "41.5,2013-01-01T01:00:00Z,JFK", header="temp,seen,origin")
    with pytest.raises(SchemaError, match=r'2\.csv has no column "wind", which the older file 1\.csv has'):
        store.ingest_source(queried(), who="ada")
    # A column that the query does not read may come and go.
    write(config, "2.parquet", later.append_column("humidity", pa.array([1, 2, 3])))
    write(config, "3.parquet", rows.slice(0, 0))
    assert not [note for note in store.ingest_source(view, who="ada").notes if "humidity" in note]
    (config.root / "in" / "3.parquet").unlink()
    gained = queried(view.source.query.replace("wind", "coalesce(humidity, 0) AS wind"), path="in/*.parquet")  # type: ignore[union-attr]
    report = store.ingest_source(gained, who="ada")
    assert (
        'source "readings": column "humidity" is null in the rows of 1 older file that has none (1.parquet)'
        in report.notes
    )


def test_what_programs_write_in_different_ways_is_the_same_below_a_query(
    config: Config, store: OfflineStore, queried: Callable[..., FeatureView], weather_rows: Rows
) -> None:
    rows = pa.Table.from_pylist(weather_rows(range(3))).rename_columns(["origin", "temp", "wind", "seen"])
    write(config, "1.parquet", rows)
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    hour = timedelta(hours=1)
    frame.with_columns(pl.col("wind").cast(pl.Int32), pl.col("seen") + 3 * hour).write_parquet(
        config.root / "in" / "2.parquet"
    )
    frame.with_columns(pl.col("origin").cast(pl.Categorical), pl.col("seen") + 6 * hour).write_parquet(
        config.root / "in" / "3.parquet"
    )
    empty = rows.set_column(2, "wind", pa.nulls(3)).set_column(3, "seen", pa.array([(START + 9 * hour).date()] * 3))
    write(config, "4.parquet", empty)
    view = queried(path="in/*.parquet")
    assert store.ingest_source(view, who="ada").written == 12


def test_a_file_without_rows_below_a_query_is_no_error(
    config: Config, store: OfflineStore, queried: Callable[..., FeatureView]
) -> None:
    csv(config, "a.csv")
    view = queried(
        "SELECT origin, avg(temp) AS temp, sum(wind + 1) AS wind, seen AS event_timestamp FROM readings GROUP BY ALL"
    )
    store.check_query(view)
    assert store.ingest_source(view, who="ada").written == 0
    csv(config, "b.csv", GOOD)
    assert store.ingest_source(view, who="ada").written == 1


def test_cells_below_a_query_have_the_type_of_all_of_them(
    config: Config, store: OfflineStore, queried: Callable[..., FeatureView]
) -> None:
    header = "seen,code,whole,part,long,flag,day,empty,mixed"
    csv(config, "a.csv", "2013-01-01T00:00:00Z,007,1,1,12345678901234567,true,2013-01-01,,1", header=header)
    csv(config, "b.csv", "2013-01-02,8,NA,.5,1.5,FALSE,2013-01-02,NA,x", header=header)
    names = header.split(",")
    types = ", ".join(f"typeof(any_value({name}))" for name in names)
    query = (
        f"SELECT 'JFK' AS origin, 1.0 AS temp, 1 AS wind, concat_ws(',', {types}) AS t, max(seen) AS event_timestamp"
    )
    view = queried(
        f"{query} FROM readings", schema=[Field(name="t", dtype=String)], lookback=None, on_bad_rows="reject"
    )
    store.ingest_source(view, who="ada")
    (row,) = store.rows_by_event_time(view, after=None).read_all().to_pylist()
    assert dict(zip(names, row["t"].split(","), strict=True)) == {
        "seen": "TIMESTAMP WITH TIME ZONE",
        "code": "VARCHAR",
        "whole": "BIGINT",
        "part": "DOUBLE",
        "long": "VARCHAR",
        "flag": "BOOLEAN",
        "day": "DATE",
        "empty": "VARCHAR",
        "mixed": "VARCHAR",
    }


def test_no_rows_after_many_are_told_where_that_never_happened(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    for number in range(3):
        rows = pa.Table.from_pylist(weather_rows([number]) * 100)
        store.ingest(view, rows, who="ada")
    report = store.ingest(view, rows.slice(0, 0), who="ada")
    assert report.notes == ("0 rows",)
    assert report.anomalies == ("0 rows, where the last 3 loads had 100 to 100",)


def test_little_room_on_the_disk_is_said_before_it_is_full(
    config: Config, registry: Registry, view: FeatureView, weather_rows: Rows
) -> None:
    everything = config.offline.model_copy(update={"low_disk_mb": 10**9})
    store = OfflineStore(config.model_copy(update={"offline": everything}), registry)
    (said,) = store.ingest(view, weather_rows(), who="ada").notes
    assert said.startswith("the disk is nearly full: ")
    assert said.endswith("under low_disk_mb = 1,000,000,000")
    never = config.offline.model_copy(update={"low_disk_mb": 0})
    assert OfflineStore(config.model_copy(update={"offline": never}), registry)._low_disk() == ()


def test_a_wrong_type_in_a_late_batch_publishes_nothing(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    good = pa.Table.from_pylist(weather_rows(range(3))).to_batches()[0]
    whole = good.set_column(2, "wind", pa.array([1.0, 2.0, 3.0]))
    broken = good.set_column(2, "wind", pa.array([1.0, 2.5, 3.0]))
    batches = [whole] * 3 + [broken]
    with pytest.raises(SchemaError, match="cannot be Int64 without loss"):
        store.ingest(view, pa.RecordBatchReader.from_batches(whole.schema, batches), who="ada")
    assert store.table_version(view) is None
