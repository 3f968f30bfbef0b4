"""Rows enter whole or not at all; bad ones are kept aside, counted, and say why."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.config import Config, SourceConfig
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, SqlSource
from featurestore.definitions.names import ROW_NUMBER
from featurestore.errors import DataError, OfflineStoreError, SchemaError, TimestampError
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registered, Registry
from featurestore.types import Bool, Bytes, Date, DType, Float32, Float64, Int32, Int64, String, Timestamp

START = datetime(2013, 1, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]


def stored(store: OfflineStore, view: FeatureView) -> pl.DataFrame:
    frame = pl.from_arrow(store.rows_by_event_time(view, after=None).read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame


def one_field(dtype: DType, **checks: Any) -> FeatureView:
    return FeatureView(name="one", entities=[Entity(name="thing")], schema=[Field(name="value", dtype=dtype, **checks)])


def column(values: pa.Array) -> pa.Table:
    instants = pa.array([START + timedelta(hours=n) for n in range(len(values))], pa.timestamp("us", tz="UTC"))
    return pa.table({"thing": ["a"] * len(values), "value": values, "event_timestamp": instants})


# Counts and reasons


def test_each_row_is_written_or_quarantined_and_counts_once(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows(range(10))
    rows[1] |= {"temp": 999.0}
    rows[2] |= {"temp": -999.0, "origin": None}
    rows[3] |= {"event_timestamp": None}
    rows[4] |= {"event_timestamp": datetime.now(UTC) + timedelta(hours=1)}
    rows[5] |= {"temp": math.nan}
    rows[6] |= {"temp": None}
    report = store.ingest(view, rows, who="ada", reason="first")
    assert (report.read, report.written, report.quarantined) == (10, 5, 5)
    assert report.reasons == {
        "temp is over 140": 1,
        "temp is under -80": 1,
        "origin is null": 1,
        "event_timestamp is null": 1,
        "event_timestamp lies in the future": 1,
    }
    kept_aside = store.quarantine(view)
    assert kept_aside is not None
    assert kept_aside.num_rows == 5
    assert sorted(kept_aside["reason"].to_pylist()) == sorted(report.reasons)
    assert stored(store, view).height == 5
    assert "5 rows written, 5 quarantined" in str(report)


def test_no_quarantine_is_none(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    store.ingest(view, weather_rows(), who="ada")
    assert store.quarantine(view) is None


def test_a_clock_that_is_a_little_ahead_is_not_the_future(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows([0, 1])
    rows[0]["event_timestamp"] = datetime.now(UTC) + timedelta(seconds=30)
    rows[1]["event_timestamp"] = datetime.now(UTC) + timedelta(seconds=90)
    assert store.ingest(view, rows, who="ada").reasons == {"event_timestamp lies in the future": 1}


def test_an_instant_that_no_reader_could_hold_is_kept_aside(store: OfflineStore) -> None:
    view = one_field(Int64)
    rows = column(pa.array([1, 2])).set_column(
        2, "event_timestamp", pa.array([-(2**62), 0], pa.timestamp("us", tz="UTC"))
    )
    assert store.ingest(view, rows, who="ada").reasons == {"event_timestamp lies outside of the years 1 to 9999": 1}


@pytest.mark.parametrize(
    ("field", "values", "reasons"),
    [
        (Field(name="value", dtype=Float64, ge=0), [0.0, -0.0, -1e-300, math.nan, None], {"value is under 0": 2}),
        (Field(name="value", dtype=Float64, le=1), [1.0, math.inf, math.nan], {"value is over 1": 2}),
        (Field(name="value", dtype=Float64, not_null=True), [None, math.nan, 1.0], {"value is null": 1}),
        (Field(name="value", dtype=Int64, in_set=(1, 2)), [1, 2, 3, None], {"value is not in the allowed set": 1}),
        (Field(name="value", dtype=String, in_set=("a",)), ["a", "A", None], {"value is not in the allowed set": 1}),
        (Field(name="value", dtype=Int64, ge=0.5), [0, 1], {"value is under 0.5": 1}),
    ],
)
def test_a_field_is_checked_nulls_pass_and_nan_is_within_no_limit(
    store: OfflineStore, field: Field, values: list[Any], reasons: dict[str, int]
) -> None:
    view = FeatureView(name="one", entities=[Entity(name="thing")], schema=[field])
    assert store.ingest(view, column(pa.array(values, field.dtype.to_arrow())), who="ada").reasons == reasons


def test_a_view_that_rejects_bad_rows_publishes_nothing_of_the_load(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    strict = replace(view, on_bad_rows="reject")
    rows = weather_rows()
    rows[1]["temp"] = 999.0
    with pytest.raises(DataError, match=r'"weather" has 1 bad row \(1 where temp is over 140\); nothing was published'):
        store.ingest(strict, rows, who="ada")
    assert store.table_version(strict) is None
    assert store.quarantine(strict) is None
    left = [file for file in store.table(strict).path.parent.rglob("*") if file.is_file()]
    assert left == []


# One load


def test_an_error_says_of_which_file_of_a_source_it_is_and_what_is_published(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, tmp_path: Path
) -> None:
    pl.DataFrame(weather_rows()).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(weather_rows()).drop("temp").write_parquet(tmp_path / "b.parquet")
    sourced = replace(view, source=FileSource(path="*.parquet"))
    with pytest.raises(SchemaError) as caught:
        store.ingest_source(sourced, who="ada")
    assert caught.value.hint.endswith("This is about b.parquet; 1 load(s) of those before it are published, and stay.")
    with pytest.raises(SchemaError) as caught:
        store.backfill(sourced, START, FAR, who="ada")
    assert caught.value.hint.endswith("This is about b.parquet.")


def test_the_same_load_id_from_several_threads_is_one_load(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = [*weather_rows(range(100)), *weather_rows(range(2_000), temp=999.0)]
    with ThreadPoolExecutor(4) as pool:
        ingests = [pool.submit(store.ingest, view, rows, who="ada", load_id="monday") for _ in range(4)]
    assert sum(len(one.result().loads) for one in ingests) == 1
    assert store.quarantined_rows(view) == 2_000


def test_the_same_load_id_twice_is_one_load(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    first = store.ingest(view, weather_rows(), who="ada", load_id="2013-01-01T00:00:00+00:00")
    second = store.ingest(view, weather_rows(), who="ada", load_id="2013-01-01T00:00:00+00:00")
    assert (first.written, first.skipped) == (3, 0)
    assert (second.written, second.skipped, second.loads) == (0, 1, ())
    assert stored(store, view).height == 3


def test_the_same_file_twice_is_one_load_until_it_changes_or_gets_an_id(
    store: OfflineStore, view: FeatureView, tmp_path: Path
) -> None:
    file, copy = tmp_path / "rows.csv", tmp_path / "copy.csv"
    file.write_text(f"{CSV},1.5,2,2013-01-01T09:00:00Z\n")
    first = store.ingest(view, file, who="ada")
    copy.write_bytes(file.read_bytes())
    again = store.ingest(view, str(copy), who="ada")
    assert (first.quarantined, again.read, again.skipped) == (1, 0, 1)
    (note,) = again.notes
    assert note == f"{copy} is loaded already, as {first.loads[0].load_id}; another load id writes its rows once more"
    assert store.ingest(view, copy, who="ada", load_id="once-more").read == first.read
    file.write_text(CSV)
    assert store.ingest(view, file, who="ada").read == first.read - 1


def test_one_load_id_for_two_views_is_two_loads(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    other = replace(view, name="other_weather")
    for one in (view, other):
        assert store.ingest(one, weather_rows(), who="ada", load_id="monday").written == 3
    store.ingest(other, weather_rows(temp=0.0), who="ada", load_id="tuesday")
    assert stored(store, view).height == 3
    assert stored(store, other).height == 6
    newest = store.newest_rows(other, until=FAR).read_all()
    assert newest["temp"].to_pylist() == [0.0]


@pytest.mark.parametrize("load_id", ["", "../evil", "a/b", ".hidden", "x" * 201, "new\nline", 5])
def test_a_load_id_that_cannot_name_a_file_is_refused(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, load_id: Any
) -> None:
    with pytest.raises(DataError, match="cannot be a load id"):
        store.ingest(view, weather_rows(), who="ada", load_id=load_id)


def test_the_later_load_wins_a_tie_and_the_later_row_within_a_load(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows([0], temp=1.0), who="ada")
    store.ingest(view, weather_rows([0], temp=2.0) + weather_rows([0], temp=3.0), who="ada")
    assert store.newest_rows(view, until=FAR).read_all()["temp"].to_pylist() == [3.0]
    assert stored(store, view)["temp"].to_list() == [1.0, 2.0, 3.0]


def test_a_load_of_no_rows_is_a_load(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    empty = pa.Table.from_pylist(weather_rows()).slice(0, 0)
    report = store.ingest(view, empty, who="ada", load_id="empty")
    assert (report.read, report.written, len(report.loads)) == (0, 0, 1)
    assert store.ingest(view, empty, who="ada", load_id="empty").skipped == 1
    assert stored(store, view).height == 0


def test_a_load_of_no_rows_must_have_the_right_columns_too(store: OfflineStore, view: FeatureView) -> None:
    with pytest.raises(SchemaError, match='no column "origin"'):
        store.ingest(view, pa.table({"temp": pa.array([], pa.float64())}), who="ada")


def test_loads_stand_in_the_ledger_with_their_author(
    store: OfflineStore, registry: Registry, view: FeatureView, weather_rows: Rows
) -> None:
    for hour in range(3):
        store.ingest(view, weather_rows([hour]), who="ada")
    loads = registry.loads(store.table(view).path.name)
    assert [load.order for load in loads] == [1, 2, 3]
    assert [load.author for load in loads] == ["ada"] * 3
    assert [load.table_version for load in loads] == sorted(load.table_version for load in loads)


# Forms of frames


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows,
        tuple,
        pa.Table.from_pylist,
        lambda rows: pa.Table.from_pylist(rows).to_batches()[0],
        lambda rows: pa.Table.from_pylist(rows).to_reader(max_chunksize=1),
        pl.DataFrame,
        lambda rows: pl.DataFrame(rows).lazy(),
        lambda rows: pl.DataFrame(rows).with_columns(pl.col("origin").cast(pl.Categorical)),
        pd.DataFrame,
        lambda rows: pd.DataFrame(rows).astype({"origin": "category"}),
        lambda rows: pa.Table.from_pylist(rows).set_column(0, "origin", pa.array(["JFK"] * 3, pa.large_string())),
        lambda rows: pa.Table.from_pylist(rows).set_column(0, "origin", pa.array(["JFK"] * 3, pa.string_view())),
        lambda rows: pa.Table.from_pylist(rows).set_column(0, "origin", pa.array(["JFK"] * 3).dictionary_encode()),
    ],
    ids=[
        "list of dicts", "tuple of dicts", "arrow table", "arrow batch", "arrow reader", "polars", "polars lazy",
        "polars categorical", "pandas", "pandas category", "large_string", "string_view", "dictionary",
    ],
)  # fmt: skip
def test_every_usual_form_of_frame_gives_the_same_rows(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, form: Callable[[Any], Any]
) -> None:
    assert store.ingest(view, form(weather_rows()), who="ada").written == 3
    columns = ["origin", "temp", "wind", "event_timestamp"]
    assert stored(store, view).select(columns).to_dicts() == weather_rows()


@pytest.mark.parametrize("frame", [7, {"origin": ["JFK"]}, pl.Series([1]), [1, 2], 1j], ids=repr)
def test_what_is_not_a_table_is_refused(store: OfflineStore, view: FeatureView, frame: Any) -> None:
    with pytest.raises(DataError, match="which is not a table"):
        store.ingest(view, frame, who="ada")


def test_a_key_that_only_later_dicts_have_is_not_lost(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows()
    del rows[0]["wind"]
    store.ingest(view, rows, who="ada")
    assert stored(store, view)["wind"].to_list() == [None, 1, 2]


def test_values_of_two_types_in_one_column_are_refused(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows()
    rows[1]["wind"] = "strong"
    with pytest.raises(DataError, match=r'Column "wind" .* cannot be read as one column'):
        store.ingest(view, rows, who="ada")


def test_two_columns_of_one_name_are_refused(store: OfflineStore) -> None:
    table = column(pa.array([1])).append_column("value", pa.array([2]))
    with pytest.raises(DataError, match='two columns "value"'):
        store.ingest(one_field(Int64), table, who="ada")


# Columns and casts


def test_a_missing_column_is_named(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    rows = pl.DataFrame(weather_rows()).rename({"temp": "temps"})
    with pytest.raises(SchemaError, match='The rows for feature view "weather" have no column "temp"') as raised:
        store.ingest(view, rows, who="ada")
    assert raised.value.hint == 'Did you mean "temps"?'


def test_columns_that_the_schema_does_not_name_are_ignored_and_said(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    report = store.ingest(view, weather_rows(humid=1.0), who="ada")
    assert report.notes == ('ignored columns that the schema does not name: "humid"',)


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "note"),
    [
        (pa.array([1], pa.int8()), Int64, 1, "cast from int8 to int64"),
        (pa.array([1], pa.uint64()), Int32, 1, "cast from uint64 to int32"),
        (pa.array([2.0]), Int64, 2, "cast from double to int64"),
        (pa.array([2**53]), Float64, 2.0**53, "cast from int64 to double"),
        (pa.array([0.5]), Float32, 0.5, "cast from double to float"),
        (pa.array([math.inf]), Float32, math.inf, "cast from double to float"),
        (pa.array([86_400_000], pa.date64()), Date, date(1970, 1, 2), "cast from date64"),
        (pa.array([date(2013, 1, 1)]), Timestamp, START, "dates taken as midnight UTC"),
        (pa.array([1_999], pa.timestamp("ns", tz="UTC")), Timestamp,
         datetime(1970, 1, 1, 0, 0, 0, 1, UTC), "cut down to micro"),
        (pa.array([-1], pa.timestamp("ns", tz="America/New_York")), Timestamp,
         datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), "cut down to micro"),
        (pa.array([b"ab"], pa.binary(2)), Bytes, b"ab", ""),
        (pa.array([None], pa.null()), Float64, None, ""),
    ],
)  # fmt: skip
def test_a_cast_that_keeps_every_value_is_made_and_said(
    store: OfflineStore, values: pa.Array, dtype: DType, expected: Any, note: str
) -> None:
    view = one_field(dtype)
    report = store.ingest(view, column(values), who="ada")
    assert stored(store, view)["value"].to_list() == [expected]
    assert len(report.notes) == bool(note)
    assert note in "".join(report.notes)


@pytest.mark.parametrize(
    ("values", "dtype", "error", "says"),
    [
        (pa.array([1.5]), Int64, SchemaError, "without loss"),
        (pa.array([math.nan]), Int64, SchemaError, "without loss"),
        (pa.array([2**31]), Int32, SchemaError, "without loss"),
        (pa.array([2**53 + 1]), Float64, SchemaError, "without loss"),
        (pa.array([1e300]), Float32, SchemaError, "too large for Float32"),
        (pa.array(["1"]), Int64, SchemaError, "is string; it is declared as Int64"),
        (pa.array([1]), String, SchemaError, "is int64; it is declared as String"),
        (pa.array([True]), Int64, SchemaError, "is bool; it is declared as Int64"),
        (pa.array([1]), Timestamp, SchemaError, "not a timestamp"),
        (pa.array([86_400_001], pa.date64()), Date, SchemaError, "without loss"),
        (pa.array([START.replace(tzinfo=None)]), Timestamp, TimestampError, "no time zone"),
        (pa.array([2**62], pa.timestamp("s", tz="UTC")), Timestamp, TimestampError, "microseconds cannot hold"),
    ],
)
def test_a_cast_that_would_change_a_value_is_refused_and_nothing_is_published(
    store: OfflineStore, values: pa.Array, dtype: DType, error: type[Exception], says: str
) -> None:
    view = one_field(dtype)
    with pytest.raises(error, match=f'Column "value" of the rows for feature view "one" .*{says}'):
        store.ingest(view, column(values), who="ada")
    assert store.table_version(view) is None


def test_naive_event_timestamps_are_refused(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    with pytest.raises(TimestampError, match=r'"event_timestamp" .* name no time zone'):
        store.ingest(view, weather_rows(event_timestamp=datetime(2013, 1, 1)), who="ada")  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("form", [list, lambda rows: pd.DataFrame(rows).astype({"event_timestamp": object})])
def test_a_naive_timestamp_among_zoned_ones_is_refused(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, form: Callable[[Any], Any]
) -> None:
    """Arrow would take it for the zone of the first."""
    frame = form(weather_rows())
    naive = datetime(2013, 1, 1, 1)  # noqa: DTZ001 - that is the point
    if isinstance(frame, list):
        frame[1]["event_timestamp"] = naive
    else:
        frame.at[1, "event_timestamp"] = naive
    with pytest.raises(TimestampError, match="some name a time zone and others do not"):
        store.ingest(view, frame, who="ada")


def test_instants_of_several_zones_are_one_time_line(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows()
    rows[1]["event_timestamp"] = rows[1]["event_timestamp"].astimezone(ZoneInfo("America/New_York"))
    store.ingest(view, rows, who="ada")
    assert stored(store, view)["event_timestamp"].to_list() == [row["event_timestamp"] for row in weather_rows()]


def test_created_timestamps_may_all_be_null(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    assert store.ingest(view, weather_rows(created_timestamp=None), who="ada").written == 3


# Sources


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_a_source_is_read_once_and_again_where_it_changed(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, files: Path
) -> None:
    sourced = replace(view, source=FileSource(path="in/*.parquet"))
    parquet(files / "a.parquet", weather_rows([0]))
    parquet(files / "b.parquet", weather_rows([1]))
    assert store.ingest_source(sourced, who="ada").written == 2
    assert store.ingest_source(sourced, who="ada").skipped == 2
    parquet(files / "c.parquet", weather_rows([2, 3]))
    third = store.ingest_source(sourced, who="ada")
    assert (third.written, third.skipped) == (2, 2)
    assert stored(store, sourced).height == 4


def test_a_named_source_may_lie_elsewhere(
    config: Config, registry: Registry, view: FeatureView, weather_rows: Rows, files: Path
) -> None:
    sourced = replace(view, source=FileSource(path="nowhere.parquet", name="readings"))
    parquet(files / "a.parquet", weather_rows())
    moved = config.model_copy(update={"sources": {"readings": SourceConfig(path="in/a.parquet")}})
    assert OfflineStore(moved, registry).ingest_source(sourced, who="ada").written == 3


CSV = "origin,temp,wind,event_timestamp\n" + "".join(f"JFK,{n}.5,NA,2013-01-01T0{n}:00:00Z\n" for n in range(5))


def source_error(store: OfflineStore, view: FeatureView, source: Any) -> DataError:
    with pytest.raises(DataError) as raised:
        store.ingest_source(replace(view, source=source), who="ada")
    assert store.table_version(replace(view, source=source)) is None
    return raised.value


@pytest.mark.parametrize("dtype", [Int64, Int32, Float64])
def test_the_sum_of_integers_that_duckdb_gives_is_taken_where_it_fits(
    store: OfflineStore, view: FeatureView, files: Path, dtype: DType
) -> None:
    (files / "a.csv").write_text("origin,wind,event_timestamp\nJFK,1,2013-01-01T00:00:00Z\nJFK,,2013-01-01T00:00:00Z\n")
    query = "SELECT origin, sum(wind * {}) AS wind, event_timestamp FROM readings GROUP BY ALL"
    sources = [FileSource(name="readings", path="in/a.csv")]
    summed = replace(view, schema=[Field(name="wind", dtype=dtype)])
    small = replace(summed, source=SqlSource(query=query.format(7), sources=sources))
    report = store.ingest_source(small, who="ada")
    assert report.notes == (f'column "wind" cast from decimal128(38, 0) to {dtype.to_arrow()}',)
    (row,) = store.rows_by_event_time(small, after=None).read_all().to_pylist()
    assert row["wind"] == 7
    large = replace(summed, source=SqlSource(query=query.format("9223372036854775807::HUGEINT * 2"), sources=sources))
    with pytest.raises(SchemaError, match=rf"decimal128\(38, 0\) and cannot be {dtype} without loss"):
        store.ingest_source(large, who="ada")
    cents = pa.table({"origin": ["JFK"], "wind": [Decimal("1.5")], "event_timestamp": [START]})
    with pytest.raises(SchemaError, match=r"is decimal128\(2, 1\); it is declared"):
        store.ingest(summed, cents, who="ada")


def test_rows_under_a_load_id_that_is_taken_are_told(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows(), who="ada", load_id="monday")
    others = pa.Table.from_pylist(weather_rows(range(5)))
    for rows in (others, others.to_pylist(), pl.from_arrow(others), others.to_pandas()):
        (said,) = store.ingest(view, rows, who="ada", load_id="monday").notes
        assert said.startswith('load "monday" was published before with other rows, 3 of them: these 5 are not written')
    for rows in (weather_rows(temp=1.0), others.to_reader(), iter(others.to_batches())):
        (said,) = store.ingest(view, rows, who="ada", load_id="monday").notes
        assert said == 'load "monday" was published before; these rows were not compared with it'
    assert stored(store, view).height == 3


def of_frames(rows: list[dict[str, Any]]) -> Iterator[Any]:
    """Yield rows as frames of every kind, one each, in whatever order their columns are."""
    for number, row in enumerate(rows):
        part = pa.Table.from_pylist([row])
        part = part.select(sorted(part.column_names, reverse=number % 2 == 1))
        yield part.to_batches()[0] if number % 2 else part


@pytest.mark.parametrize(
    "form",
    [
        of_frames,
        lambda rows: list(of_frames(rows)),
        lambda rows: tuple(of_frames(rows)),
        lambda rows: map(pl.DataFrame, ([row] for row in rows)),
        lambda rows: (pd.DataFrame([row]) for row in rows),
        lambda rows: pl.LazyFrame(rows).with_columns(wind=pl.col("wind") + 0),
        lambda rows: pa.Table.from_pylist(rows).to_reader(),
    ],
)
def test_a_stream_of_any_form_is_read_to_its_end(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, form: Callable[..., Any]
) -> None:
    rows = weather_rows(range(5))
    assert store.ingest(view, form(rows), who="ada").written == 5
    assert stored(store, view)["wind"].to_list() == list(range(5))


def broken_off(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield batch
    raise ZeroDivisionError("the user's own")


def test_a_stream_that_is_none_or_changes_on_the_way_publishes_nothing(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = pa.Table.from_pylist(weather_rows())
    floats = rows.set_column(2, "wind", rows["wind"].cast(pa.float64()))
    none = pl.LazyFrame(rows.to_pydict()).with_columns(wind=pl.col("origin").str.to_integer())
    streams: list[tuple[Any, type[Exception], str]] = [
        (iter([rows, rows.drop_columns(["wind"])]), SchemaError, "Part 2 of the rows .* has the columns origin, temp"),
        (iter([rows, floats]), SchemaError, '"wind" of part 2 of .* is double, and that of the first one int64'),
        (iter([rows, [1]]), DataError, "stream whose part 2 is list, which is not a table"),
        (iter([{"origin": "JFK"}]), DataError, "stream whose part 1 is dict, which is not a table"),
        (none, DataError, "cannot be computed: "),
        (broken_off(rows.to_batches()[0]), ZeroDivisionError, "the user's own"),
        (42, DataError, "came as int, which is not a table"),
    ]
    for stream, kind, said in streams:
        with pytest.raises(kind, match=said):
            store.ingest(view, stream, who="ada")
    with pytest.raises(DataError) as refused:
        store.ingest(view, {1, 2}, who="ada")
    assert "a generator of RecordBatches" in refused.value.hint
    assert store.table_version(view) is None


def test_csv_files_are_read_with_na_as_null(store: OfflineStore, view: FeatureView, files: Path) -> None:
    (files / "a.csv").write_text(CSV)
    sourced = replace(view, source=FileSource(path="in/a.csv"))
    assert store.ingest_source(sourced, who="ada").written == 5
    assert stored(store, sourced)["wind"].to_list() == [None] * 5


def test_a_broken_line_of_csv_is_named(store: OfflineStore, view: FeatureView, files: Path) -> None:
    lines = CSV.splitlines()
    (files / "a.csv").write_text("\n".join([*lines[:4], "JFK,1,2,2013-01-01T00:00:00Z,surplus,more", *lines[4:]]))
    error = source_error(store, view, FileSource(path="in/a.csv"))
    assert "a.csv cannot be read" in error.message
    assert "line 5: Expected Number of Columns: 4 Found: 5." in error.message
    assert len(error.message) < 150


def test_a_row_of_csv_with_cells_that_are_not_of_the_declared_types_is_kept_aside_with_them(
    store: OfflineStore, view: FeatureView, files: Path
) -> None:
    bad = "JFK,warm,0.5,2013-01-01T00:00:00Z\nJFK,1,2,2013-13-01T00:00:00Z\nJFK,2,x,2013-01-01T00:00:00Z\n"
    (files / "a.csv").write_text(CSV + bad)
    sourced = replace(view, source=FileSource(path="in/a.csv"))
    report = store.ingest_source(sourced, who="ada")
    assert (report.read, report.written, report.quarantined) == (8, 5, 3)
    assert report.reasons == {"temp is not Float64": 1, "event_timestamp is not Timestamp": 1, "wind is not Int64": 1}
    assert report.notes == ()
    store.ingest(sourced, [{"origin": "JFK", "temp": 999.0, "wind": 1, "event_timestamp": START}], who="ada")
    kept_aside = store.quarantine(sourced)
    assert kept_aside is not None
    assert kept_aside["unreadable__"].to_pylist() == [
        "temp=warm, wind=0.5",
        "event_timestamp=2013-13-01T00:00:00Z",
        "wind=x",
        None,
    ]
    with pytest.raises(DataError, match=r"3 bad rows .* nothing was published"):
        store.ingest_source(replace(sourced, name="strict", on_bad_rows="reject"), who="ada")


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (Int64, {"7": 7, "1e3": 1000, "-1.0": -1, str(2**63 - 1): 2**63 - 1}, ["1.5", "abc", str(2**63), "1,5"]),
        (Int32, {"7": 7}, [str(2**31), "0.1"]),
        (Float32, {"0.5": 0.5, "inf": math.inf}, ["1e39", "1.5.5"]),
        (Float64, {"1e300": 1e300}, ["1e", "true"]),
        (Date, {"2013-01-01": date(2013, 1, 1)}, ["2013-01-01 05:00:00", "2013-02-30"]),
        (Bool, {"true": True, "0": False}, ["2", "maybe"]),
        (Timestamp, {"2013-01-01T01:00:00+01:00": START, "2013-01-01": START}, ["yesterday", "2013-01-01T25:00:00Z"]),
    ],
)
def test_a_cell_of_csv_is_read_without_loss_or_not_at_all(
    store: OfflineStore, files: Path, dtype: DType, good: dict[str, Any], bad: list[str]
) -> None:
    lines = [f'a,"{cell}",2013-01-01T00:00:00Z' for cell in [*good, *bad]]
    (files / "a.csv").write_text("\n".join(["thing,value,event_timestamp", *lines]))
    view = one_field(dtype)
    report = store.ingest(view, files / "a.csv", who="ada")
    assert stored(store, view)["value"].to_list() == list(good.values())
    assert report.reasons == {f"value is not {dtype}": len(bad)}


def test_the_path_of_a_file_is_read_as_a_source_of_the_view_is(
    store: OfflineStore, view: FeatureView, files: Path, weather_rows: Rows
) -> None:
    (files / "a.csv").write_text(CSV.replace("JFK", "007"))
    parquet(files / "b.parquet", weather_rows())
    pushed = replace(view, source=PushSource(name="clicks", created_timestamp_column=None))
    assert store.ingest(pushed, str(files / "a.csv"), who="ada", load_id="monday").written == 5
    assert store.ingest(pushed, files / "a.csv", who="ada", load_id="monday").skipped == 1
    assert store.ingest(pushed, files / "b.parquet", who="ada").written == 3
    assert set(stored(store, pushed)["origin"]) == {"007", "JFK"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.csv", None, "There is no file"),
        ("", None, "is a folder"),
        ("a.txt", b"x", "ends in neither .parquet nor .csv"),
        ("a.csv", b"\xff\xfe,b\n", "a.csv cannot be read: it is not UTF-8 text"),
        ("a.csv", (CSV + CSV[CSV.index("J") :] * 999).encode() + b"\xff,1,1,NA\n", "line 5002: .* not utf-8"),
        ("a.csv", b'origin,temp,wind,event_timestamp\nJFK,"1,2,3\n', "line 2: Value with unterminated quote"),
        ("a.parquet", b"noise", "a.parquet cannot be read"),
    ],
)
def test_a_path_that_cannot_be_read_is_one_clear_line(
    store: OfflineStore, view: FeatureView, files: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (files / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as raised:
        store.ingest(view, files / name, who="ada")
    assert "\n" not in raised.value.message
    assert "ossible" not in raised.value.message
    assert store.table_version(view) is None


@pytest.mark.parametrize("frame", [[], (), pa.table({}), pl.DataFrame(), pd.DataFrame()], ids=repr)
def test_nothing_at_all_is_a_load_of_no_rows(store: OfflineStore, view: FeatureView, frame: Any) -> None:
    report = store.ingest(view, frame, who="ada")
    assert (report.read, len(report.loads), report.notes) == (0, 1, ("0 rows",))


def test_a_csv_file_of_a_header_alone_is_a_load_of_no_rows(store: OfflineStore, view: FeatureView, files: Path) -> None:
    (files / "a.csv").write_text(CSV.splitlines()[0])
    report = store.ingest(view, files / "a.csv", who="ada")
    assert (report.read, len(report.loads), report.notes) == (0, 1, ("0 rows",))
    (files / "b.csv").write_text("origin,temp\n")
    with pytest.raises(SchemaError, match='have no column "wind"'):
        store.ingest(view, files / "b.csv", who="ada")


def test_a_value_that_no_column_holds_is_named_by_column_and_row(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows()
    rows[1]["wind"] = 2**63
    with pytest.raises(SchemaError, match=r'Column "wind" of the rows .* has in row 2 a value \(int\)'):
        store.ingest(view, rows, who="ada")
    with pytest.raises(DataError, match="2 dicts without a column"):
        store.ingest(view, [{}, {}], who="ada")


def test_limits_hold_for_integers_that_no_float_can_be(store: OfflineStore) -> None:
    view = one_field(Int64, ge=0.5, le=float(2**60))
    report = store.ingest(view, column(pa.array([0, 1, 2**53 + 1, 2**60, 2**60 + 1])), who="ada")
    assert report.reasons == {"value is under 0.5": 1, "value is over 1.15292e+18": 1}


def test_csv_is_read_by_the_declared_types_and_not_by_a_guess(store: OfflineStore, files: Path) -> None:
    (files / "a.csv").write_text('thing,value,note,event_timestamp\n007,1,"a,b",2013-01-01\n')
    sourced = replace(one_field(Float64), source=FileSource(path="in/a.csv"))
    store.ingest_source(sourced, who="ada")
    row = stored(store, sourced).to_dicts()[0]
    assert (row["thing"], row["value"], row["event_timestamp"]) == ("007", 1.0, START)


@pytest.mark.parametrize("naive", ["2013-01-01 05:00:00", "2013-01-01T05:00:00.123"])
def test_a_naive_instant_of_csv_is_refused(store: OfflineStore, view: FeatureView, files: Path, naive: str) -> None:
    (files / "a.csv").write_text(CSV + f"JFK,1,1,{naive}\n")
    error = source_error(store, view, FileSource(path="in/a.csv"))
    assert isinstance(error, TimestampError)
    assert f"a.csv cannot be read: event_timestamp {naive} names no time zone." in error.message
    assert "2013-01-01T07:00:00Z" in error.hint


def test_who_stops_a_load_of_a_file_leaves_no_thread_and_no_file(
    store: OfflineStore, view: FeatureView, weather_rows: Any, files: Path
) -> None:
    parquet(files / "a.parquet", weather_rows(range(10)))

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    before = set(threading.enumerate())  # of other tests: some may end meanwhile
    with pytest.raises(KeyboardInterrupt):
        store.ingest(view, files / "a.parquet", who="ada", progress=stop)
    assert not [one for one in set(threading.enumerate()) - before if one.name.startswith("featurestore-")]
    assert not list(store.table(view).path.glob("*"))
    assert not store.loads(view)


def test_the_rows_of_a_file_keep_their_order_and_their_numbers(
    store: OfflineStore, view: FeatureView, files: Path
) -> None:
    count = 300_000  # several batches, and several row groups
    rows = pa.table(
        {
            "origin": ["JFK"] * count,
            "temp": np.where(np.arange(count) % 1_000 == 7, 999.0, 1.0),
            "wind": np.arange(count),
            "event_timestamp": pa.array(np.random.default_rng(0).permutation(count), pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(rows, files / "a.parquet", row_group_size=40_000)
    report = store.ingest(view, files / "a.parquet", who="ada")
    assert (report.read, report.written, report.quarantined) == (count, count - 300, 300)
    (file,) = store.table(view).files()
    table = pq.read_table(file)
    assert table["wind"].to_pylist() == [one for one in range(count) if one % 1_000 != 7]
    assert table[ROW_NUMBER].to_pylist() == list(range(count - 300))


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_a_parquet_file_that_is_cut_off_is_named(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, files: Path, cut: int
) -> None:
    parquet(files / "a.parquet", weather_rows())
    (files / "a.parquet").write_bytes((files / "a.parquet").read_bytes()[:cut])
    assert "a.parquet cannot be read" in source_error(store, view, FileSource(path="in/a.parquet")).message


def test_a_file_that_turns_bad_in_the_middle_is_the_sources_fault_and_nothing_is_published(
    store: OfflineStore, view: FeatureView, files: Path
) -> None:
    """DuckDB's errors come out of a stream as OSError, like those of a full disk."""
    query = "SELECT *, CAST(CASE WHEN wind = 300000 THEN 'x' ELSE '1' END AS DOUBLE) AS temp FROM rows"
    many = pl.DataFrame({"wind": range(400_000)}).with_columns(origin=pl.lit("JFK"), event_timestamp=pl.lit(START))
    many.write_parquet(files / "a.parquet", row_group_size=50_000)
    error = source_error(store, view, SqlSource(query=query, sources=[FileSource(name="rows", path="in/a.parquet")]))
    assert "query cannot be read: Conversion Error" in error.message


def test_no_file_and_no_source_say_what_to_do(store: OfflineStore, view: FeatureView) -> None:
    assert 'No file matches "in/x.parquet"' in source_error(store, view, FileSource(path="in/x.parquet")).message
    assert "has no source to read" in source_error(store, view, None).message
    assert "has no source to read" in source_error(store, view, PushSource(name="clicks")).message


def test_an_empty_csv_file_has_no_columns(store: OfflineStore, view: FeatureView, files: Path) -> None:
    (files / "a.csv").write_text("")
    assert "a.csv is empty" in source_error(store, view, FileSource(path="in/a.csv")).message


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT *\nFROM rows\nWHERE no_such = 1", "LINE 3: WHERE no_such = 1"),
        ("SELECT *\nFORM rows", "LINE 2: FORM rows"),
        ("SELECT * FROM elsewhere", "elsewhere"),
        ("DROP VIEW rows", "is not one SELECT"),
        ("SELECT 1; SELECT 2", "is not one SELECT"),
    ],
)
def test_a_query_that_fails_shows_its_line(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, files: Path, query: str, says: str
) -> None:
    parquet(files / "a.parquet", weather_rows())
    source = SqlSource(query=query, sources=[FileSource(name="rows", path="in/a.parquet")])
    assert says in source_error(store, view, source).message


def test_a_query_runs_over_its_sources(store: OfflineStore, view: FeatureView, weather_rows: Rows, files: Path) -> None:
    parquet(files / "a.parquet", weather_rows())
    source = SqlSource(
        query="WITH x AS (SELECT * FROM rows) SELECT * REPLACE (temp * 2 AS temp) FROM x;",
        sources=[FileSource(name="rows", path="in/*.parquet")],
    )
    assert store.ingest_source(replace(view, source=source), who="ada").written == 3
    assert stored(store, replace(view, source=source))["temp"].to_list() == [80.0, 82.0, 84.0]


# Damage


def test_a_table_that_lost_a_file_is_named(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows(), who="ada")
    table = store.table(view)
    for file in table.files():
        Path(file).unlink()
    entity = [{"origin": "JFK", "hour": 0, "event_timestamp": START}]
    with pytest.raises(OfflineStoreError, match=table.path.name):
        store.historical_features(service, entity).to_arrow()
    with pytest.raises(OfflineStoreError, match=table.path.name):
        store.newest_rows(view, until=FAR).read_all()


def test_a_table_whose_file_turned_to_noise_is_named(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows(range(2000)), who="ada")
    table = store.table(view)
    file = Path(table.files()[0])
    noise = bytearray(file.read_bytes())
    noise[4:-2000] = b"\x00" * len(noise[4:-2000])
    file.write_bytes(bytes(noise))
    with pytest.raises(OfflineStoreError, match=table.path.name):
        store.rows_by_event_time(view, after=None).read_all()


def test_a_table_whose_log_is_damaged_is_named(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    store.ingest(view, weather_rows(), who="ada")
    table = store.table(view)
    for commit in (table.path / "_delta_log").iterdir():
        commit.write_text("{not json")
    with pytest.raises(OfflineStoreError, match=table.path.name):
        store.table_version(view)


def test_a_folder_that_cannot_be_written_is_named(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    table = store.table(view)
    table.path.parent.mkdir(parents=True)
    table.path.write_text("a file where the table's folder should be")
    with pytest.raises(OfflineStoreError, match=f"{table.path.name} cannot be opened.*Not a directory"):
        store.ingest(view, weather_rows(), who="ada")


def test_a_quarantine_that_cannot_be_written_stops_the_load(
    store: OfflineStore, config: Config, view: FeatureView, weather_rows: Rows
) -> None:
    (config.path(config.offline.path)).mkdir(parents=True)
    (config.path(config.offline.path) / "quarantine").write_text("a file where the folder should be")
    with pytest.raises(OfflineStoreError, match="kept aside"):
        store.ingest(view, weather_rows(temp=999.0), who="ada")
    assert store.table_version(view) is None


@pytest.mark.parametrize(("above", "path", "expected"), [("", "in/*/*.parquet", [1, 2]), ("wind=9", "a.parquet", [3])])
def test_folders_of_a_source_are_its_columns_and_those_above_it_are_not(
    tmp_path: Path,
    registry: Registry,
    view: FeatureView,
    weather_rows: Rows,
    above: str,
    path: str,
    expected: list[int],
) -> None:
    root = tmp_path / above
    for wind in (1, 2):
        (root / f"in/wind={wind}").mkdir(parents=True)
        rows = pa.Table.from_pylist(weather_rows([wind])).drop_columns(["wind"])
        pq.write_table(rows, root / f"in/wind={wind}/rows.parquet")
    pq.write_table(pa.Table.from_pylist(weather_rows([3])), root / "a.parquet")
    store = OfflineStore(Config(root=root, project="tests"), registry)
    sourced = replace(view, source=FileSource(path=path))
    store.ingest_source(sourced, who="ada")
    assert stored(store, sourced)["wind"].sort().to_list() == expected
