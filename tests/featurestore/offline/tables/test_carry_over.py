"""A new version's table starts from the rows of the version before, where they mean the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from featurestore.definitions import Entity, FeatureView, Field, FileSource, PushSource, heritage
from featurestore.offline.store import OfflineStore
from featurestore.types import Float64, Int64, String

START = datetime(2013, 1, 1, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]


def stored(store: OfflineStore, view: FeatureView) -> pl.DataFrame:
    frame = pl.from_arrow(store.rows_by_event_time(view, after=None).read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame


def with_field(view: FeatureView, **field: Any) -> FeatureView:
    return replace(view, schema=[*view.schema, Field(**{"name": "dewp", "dtype": Float64, **field})])


def test_kept_fields_bring_their_history_and_added_ones_are_null(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows(range(3), created_timestamp=START), who="ada")
    newer = with_field(view)
    report = store.carry_over(view, newer, who="ada")
    assert report is not None
    assert (report.written, report.quarantined) == (3, 0)
    rows = stored(store, newer)
    assert rows["temp"].to_list() == [40.0, 41.0, 42.0]
    assert rows["dewp"].to_list() == [None] * 3
    assert rows["created_timestamp"].to_list() == [START] * 3


def test_carrying_over_twice_changes_nothing(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    store.ingest(view, weather_rows(), who="ada")
    newer = with_field(view)
    store.carry_over(view, newer, who="ada")
    assert store.carry_over(view, newer, who="ada") is None
    assert stored(store, newer).height == 3


def test_a_version_that_was_not_fed_catches_up_with_what_it_missed(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    newer = with_field(view)
    store.ingest(view, weather_rows(range(2)), who="ada")
    store.carry_over(view, newer, who="ada")
    store.ingest(view, weather_rows(range(2, 5)), who="ada")
    assert [load.rows_written for load in store.missing_loads(view, newer)] == [3]
    store.carry_over(view, newer, who="ada")
    assert stored(store, newer)["wind"].to_list() == [0, 1, 2, 3, 4]
    assert store.missing_loads(view, newer) == []


def test_ties_keep_their_order(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    store.ingest(view, weather_rows([1], wind=1, created_timestamp=START), who="ada")
    store.ingest(view, weather_rows([1], wind=2, created_timestamp=START), who="ada")
    store.ingest(view, weather_rows([1], wind=3, created_timestamp=START - timedelta(days=1)), who="ada")
    newer = with_field(view)
    store.carry_over(view, newer, who="ada")
    (row,) = store.newest_rows(newer, until=datetime.now(UTC)).read_all().to_pylist()
    assert row["wind"] == 2


def test_rows_that_the_new_checks_refuse_are_kept_aside(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows(), who="ada")
    stricter = replace(view, schema=[replace(view.schema[0], le=41), *view.schema[1:]], on_bad_rows="reject")
    report = store.carry_over(view, stricter, who="ada")
    assert report is not None
    assert (report.written, report.reasons) == (2, {"temp is over 41": 1})


def test_checks_of_a_whole_load_do_not_hold_for_the_loads_of_years(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    for wind in (None, None, 3, 3):
        store.ingest(view, weather_rows([1], wind=wind), who="ada")
    strict = replace(view.schema[1], unique_within="load", max_null_rate=0.1)
    report = store.carry_over(view, replace(view, schema=[view.schema[0], strict]), who="ada")
    assert report is not None
    assert (report.written, report.quarantined) == (4, 0)


def test_columns_of_another_name_for_the_instants_are_carried(store: OfflineStore, weather_rows: Rows) -> None:
    source = FileSource(path="x.parquet", timestamp_field="seen", created_timestamp_column="loaded")
    view = FeatureView(
        name="weather",
        entities=[Entity(name="airport", join_keys=["origin"])],
        schema=[Field(name="temp", dtype=Float64)],
        source=source,
    )
    rows = [
        {"origin": row["origin"], "temp": row["temp"], "seen": row["event_timestamp"], "loaded": row["event_timestamp"]}
        for row in weather_rows()
    ]
    store.ingest(view, rows, who="ada")
    newer = with_field(view)
    store.carry_over(view, newer, who="ada")
    assert stored(store, newer)["created_timestamp"].to_list() == stored(store, view)["created_timestamp"].to_list()


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        (lambda view: replace(view, entities=[Entity(name="airport", join_keys=["origin"], dtypes=[Int64])]), "keys"),
        (lambda view: replace(view, source=FileSource(path="x.csv")), "source changed"),
        (lambda view: replace(view, schema=[Field(name="other", dtype=Int64)]), "no field"),
        (lambda view: replace(view, schema=[Field(name="temp", dtype=String)]), "no field"),
        (lambda view: with_field(view, not_null=True), 'no value of "dewp", which may not be null'),
    ],
)
def test_nothing_is_carried_where_it_would_mean_something_else(
    store: OfflineStore,
    view: FeatureView,
    weather_rows: Rows,
    change: Callable[[FeatureView], FeatureView],
    obstacle: str,
) -> None:
    store.ingest(view, weather_rows(), who="ada")
    newer = change(view)
    assert obstacle in heritage(view, newer).obstacle
    assert store.carry_over(view, newer, who="ada") is None
    assert store.loads(newer) == []


def test_an_added_field_that_may_not_be_null_keeps_the_history_if_it_has_a_default(view: FeatureView) -> None:
    assert heritage(view, with_field(view, not_null=True, default=0.0)).added == ("dewp",)


def test_what_a_push_source_is_called_does_not_matter(view: FeatureView) -> None:
    pushed = replace(view, source=PushSource(name="clicks"))
    assert heritage(view, pushed).kept == ("temp", "wind")
    assert heritage(pushed, replace(view, source=PushSource(name="taps"))).obstacle == ""
