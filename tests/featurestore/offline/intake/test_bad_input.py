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
from featurestore.definitions import FeatureView, Field, FileSource
from featurestore.errors import DataError, DefinitionError, FeatureStoreError, SchemaError
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import Float64, Int64

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
