"""What one load brought, beside the rows before it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from featurestore import Entity, FeatureView, Field
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.load_rows import FieldOfLoad
from featurestore.registry.records import Load
from featurestore.types import Array, Float64, Int64, String

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
VIEW = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"], dtypes=[String])],
    schema=[
        Field(name="temp", dtype=Float64),
        Field(name="count", dtype=Int64),
        Field(name="sky", dtype=String),
        Field(name="gusts", dtype=Array(Float64)),
    ],
)
NAMES = ["temp", "count", "sky", "gusts", "of no view"]


def rows(*given: dict[str, Any]) -> list[dict[str, Any]]:
    usual = {"temp": 1.0, "count": 1, "sky": "clear", "gusts": [1.0], "event_timestamp": NOON}
    return [usual | {"origin": str(place)} | one for place, one in enumerate(given)]


def loaded(store: OfflineStore, load_id: str, *given: dict[str, Any]) -> Load:
    store.ingest(VIEW, rows(*given), who="ada", load_id=load_id)
    return store.loads(VIEW)[-1]


def test_faults_are_counted_beside_the_rows_before(store: OfflineStore) -> None:
    loaded(store, "first", {}, {"temp": 3.0, "sky": "rain"}, {"temp": None})
    bad = loaded(
        store,
        "bad",
        {"temp": None, "count": 2**60, "gusts": None},
        {"temp": float("nan"), "count": None, "sky": "snow"},
        {"temp": 9.0, "count": 1, "sky": "rain"},
        {"temp": 2.0, "count": -5, "sky": None},
    )
    loaded(store, "after", {"temp": 100.0})
    found = store.fields_of_load(VIEW, bad, NAMES)
    assert found is not None
    counts = {"rows": 4, "rows_before": 3}
    assert found == {
        "temp": FieldOfLoad(**counts, missing=2, missing_before=1, outside=1, unseen=2, constant=False),
        "count": FieldOfLoad(**counts, missing=1, missing_before=0, outside=2, unseen=2, constant=False),
        "sky": FieldOfLoad(**counts, missing=1, missing_before=0, outside=0, unseen=1, constant=False),
        "gusts": FieldOfLoad(**counts, missing=1, missing_before=0, outside=0, unseen=0, constant=False),
    }


def test_one_value_is_constant_where_there_were_others(store: OfflineStore) -> None:
    loaded(store, "first", {"temp": 1.0}, {"temp": 2.0})
    found = store.fields_of_load(VIEW, loaded(store, "flat", {"temp": 2.0}, {"temp": 2.0}), NAMES)
    assert found is not None
    assert (found["temp"].constant, found["count"].constant) == (True, False)


def test_the_first_load_has_nothing_before_it_and_one_without_rows_has_none(store: OfflineStore) -> None:
    found = store.fields_of_load(VIEW, loaded(store, "first", {}, {"temp": None}), NAMES)
    assert found is not None
    assert (found["temp"].rows_before, found["temp"].missing, found["temp"].outside) == (0, 1, 0)
    store.ingest(VIEW, rows({})[:0], who="ada", load_id="empty")
    found = store.fields_of_load(VIEW, store.loads(VIEW)[-1], NAMES)
    assert found is not None
    assert found["temp"].rows == 0


@pytest.mark.parametrize("compacted", [False, True])
def test_a_load_is_found_in_what_was_compacted_since_unless_its_files_are_gone(
    store: OfflineStore, compacted: bool
) -> None:
    loaded(store, "first", {})
    second = loaded(store, "second", {"temp": None})
    files = store.table(VIEW).snapshot().files
    store.compact(VIEW, who="ada")
    found = store.fields_of_load(VIEW, second, ["temp"])
    assert found is not None
    assert found["temp"].missing == 1
    if compacted:
        for one in files:
            (store.table(VIEW).path / one.name).unlink()
        assert store.fields_of_load(VIEW, second, ["temp"]) is None
