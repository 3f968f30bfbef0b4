"""A load that comes after its rows were carried over takes their place, with all that it has to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from featurestore.definitions import FeatureView, Field
from featurestore.errors import OfflineStoreError
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables import superseding
from featurestore.types import Float64

Rows = Callable[..., list[dict[str, Any]]]


def stored(store: OfflineStore, view: FeatureView) -> list[tuple[int, float | None]]:
    frame = pl.from_arrow(store.rows_by_event_time(view, after=None).read_all())
    assert isinstance(frame, pl.DataFrame)
    return sorted(frame.select("wind", "dewp").rows())


@pytest.fixture
def wider(view: FeatureView) -> FeatureView:
    return replace(view, schema=[*view.schema, Field(name="dewp", dtype=Float64)])


def test_values_of_added_fields_come_with_the_load_itself(
    store: OfflineStore, view: FeatureView, wider: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows([0, 1]), who="ada", load_id="early")
    store.ingest(view, weather_rows([2, 3]), who="ada", load_id="late")
    store.carry_over(view, wider, who="ada")
    assert stored(store, wider) == [(0, None), (1, None), (2, None), (3, None)]
    report = store.ingest(wider, weather_rows([2, 3], dewp=30.0), who="ada", load_id="late")
    assert report.written == 2
    assert stored(store, wider) == [(0, None), (1, None), (2, 30.0), (3, 30.0)]
    assert store.ingest(wider, weather_rows([2, 3], dewp=30.0), who="ada", load_id="late").skipped == 1
    assert store.missing_loads(view, wider) == []
    assert store.rows_taken(wider, 0)  # what is online of them may be in the table no more


def test_a_restore_brings_the_carried_rows_back(
    store: OfflineStore, view: FeatureView, wider: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows([0]), who="ada", load_id="early")
    store.ingest(view, weather_rows([1]), who="ada", load_id="late")
    store.carry_over(view, wider, who="ada")
    (carried,) = store.loads(wider)
    for dewp in (30.0, 40.0):  # and then it may come once more, with other values
        store.ingest(wider, weather_rows([1], dewp=dewp), who="ada", load_id="late")
        assert stored(store, wider) == [(0, None), (1, dewp)]
        store.restore(wider, store.find_state(wider, carried.load_id), who="ada")
        assert stored(store, wider) == [(0, None), (1, None)]


def test_what_the_older_version_had_quarantined_comes_with_the_load_itself(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    loose = replace(view, schema=[replace(view.schema[0], le=None), view.schema[1]])
    rows = weather_rows([0, 1]) + weather_rows([2], temp=500.0)
    assert store.ingest(view, rows, who="ada", load_id="late").quarantined == 1
    store.carry_over(view, loose, who="ada")
    assert store.ingest(loose, rows, who="ada", load_id="late").written == 3
    frame = store.rows_by_event_time(loose, after=None).read_all()
    assert frame["wind"].to_pylist() == [0, 1, 2]


def test_its_rows_do_not_repeat_those_whose_place_they_take(
    store: OfflineStore, view: FeatureView, wider: FeatureView, weather_rows: Rows
) -> None:
    unique = replace(wider, schema=[wider.schema[0], replace(wider.schema[1], unique_within="table"), wider.schema[2]])
    store.ingest(view, weather_rows([0]), who="ada", load_id="early")
    store.ingest(view, weather_rows([1]), who="ada", load_id="late")
    store.carry_over(view, unique, who="ada")
    rows = weather_rows([1], dewp=30.0) + weather_rows([2], wind=0, dewp=30.0)
    report = store.ingest(unique, rows, who="ada", load_id="late")
    assert (report.written, report.quarantined) == (1, 1)
    assert stored(store, unique) == [(0, None), (1, 30.0)]


def test_pushed_rows_have_the_order_of_their_own_load(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    """What is online of them waits for it, so they are never taken for loaded with another."""
    loose = replace(view, schema=[replace(view.schema[0], le=None), view.schema[1]])
    rows = weather_rows([0, 1])
    store.ingest(view, rows, who="ada", load_id="push-7")
    store.carry_over(view, loose, who="ada")
    store.ingest(loose, weather_rows([2]), who="ada", load_id="other")
    reader = pl.DataFrame(rows).to_arrow().to_reader()
    load = store.load_pushed(loose, reader, load_id="push-7", who="ada", checked_as=loose, pushed_at=datetime.now(UTC))
    assert load is not None
    assert load.order == store.loads(loose)[-1].order == 3
    assert store.rows_by_event_time(loose, after=None).read_all()["wind"].to_pylist() == [0, 1, 2]


def test_a_table_that_others_change_meanwhile_is_looked_at_again(
    store: OfflineStore, view: FeatureView, wider: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ingest(view, weather_rows([0, 1]), who="ada", load_id="early")
    store.ingest(view, weather_rows([2, 3]), who="ada", load_id="late")
    store.carry_over(view, wider, who="ada")
    store.ingest(wider, weather_rows([4], dewp=1.0), who="ada")
    copied, waiting = superseding.copied, [lambda: store.compact(wider, who="ada")]

    def overtaken(*given: Any) -> Any:
        if waiting:
            waiting.pop()()
        return copied(*given)

    monkeypatch.setattr(superseding, "copied", overtaken)
    store.ingest(wider, weather_rows([2, 3], dewp=30.0), who="ada", load_id="late")
    assert stored(store, wider) == [(0, None), (1, None), (2, 30.0), (3, 30.0), (4, 1.0)]


def test_a_load_that_cannot_take_their_place_leaves_them(
    store: OfflineStore, view: FeatureView, wider: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ingest(view, weather_rows([0]), who="ada", load_id="early")
    store.ingest(view, weather_rows([1]), who="ada", load_id="late")
    store.carry_over(view, wider, who="ada")

    def full(*_: Any) -> Any:
        raise OfflineStoreError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(superseding, "copied", full)
        with pytest.raises(OfflineStoreError, match="full"):
            store.ingest(wider, weather_rows([1], dewp=30.0), who="ada", load_id="late")
    assert stored(store, wider) == [(0, None), (1, None)]
    assert {str(one) for one in store.table(wider).path.glob("*.parquet")} == set(store.table(wider).files())
    store.ingest(wider, weather_rows([1], dewp=30.0), who="ada", load_id="late")
    assert stored(store, wider) == [(0, None), (1, 30.0)]
