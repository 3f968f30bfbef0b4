"""What is different in one dataset from another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureView, Field, RandomSplit
from featurestore.errors import ObjectNotFoundError, OfflineStoreError
from featurestore.offline.datasets.diff import ColumnDiff, RowsDiff
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.datasets.training_dataset import TrainingDataset
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registered, Registry
from featurestore.types import Float64, String

START = datetime(2013, 1, 1, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]
Make = Callable[..., TrainingDataset]


def entity_rows(hours: range = range(48), late: float = 0.5) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"origin": "JFK", "hour": hour, "event_timestamp": START + timedelta(hours=hour), "late": hour % 3 - late}
            for hour in hours
        ]
    )


@pytest.fixture
def make(store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: Rows) -> Make:
    store.ingest(view, weather_rows(range(48)), who="ada")

    def create(rows: Any, of: Any = service, **recipe: Any) -> TrainingDataset:
        return store.create_dataset("delays", of, rows, Recipe(**({"label": "late"} | recipe)), who="ada")

    return create


def test_the_same_dataset_twice_has_no_difference(make: Make, store: OfflineStore) -> None:
    make(entity_rows())
    make(entity_rows()[::-1])
    found = store.diff_datasets("delays@1", "delays@1")
    assert found.same
    assert (
        str(found) == "~ delays@1 -> delays@1 (the same rows)\n  rows         48 -> 48: 0 added, 0 removed, 48 common"
    )
    # In another order it has another hash, and no row that is different.
    found = store.diff_datasets("delays@1", "delays@2")
    assert (found.same, found.columns, found.rows) == (False, (), RowsDiff(added=0, removed=0, common=48))


def test_rows_columns_values_and_spread_are_told(
    make: Make, store: OfflineStore, view: Any, weather_rows: Rows
) -> None:
    make(entity_rows(range(40)))
    store.ingest(view, weather_rows(range(10), temp=100.0), who="ada")
    rows = entity_rows(range(8, 48)).with_columns(extra=pl.lit(1), late=pl.col("late").cast(pl.Float32))
    make(rows)
    found = store.diff_datasets("delays@1", "delays@2")
    assert found.count == (40, 40)
    assert found.rows == RowsDiff(added=8, removed=8, common=32)
    assert (found.added, found.removed, found.retyped) == ({"extra": "int32"}, {}, {"late": ("double", "float")})
    columns = {one.name: one for one in found.columns}
    assert set(columns) == {"temp", "wind", "wind_chill", "late"}
    assert (columns["temp"].changed, columns["temp"].compared, columns["wind"].changed) == (2, 32, 0)
    assert columns["temp"].mean == pytest.approx((59.5, 70.075))
    assert {what.what for what in found.definitions} == {"table of " + view.name}
    assert json.loads(json.dumps(found.to_json()))["rows"] == {"added": 8, "removed": 8, "common": 32}
    said = str(found)
    assert "+ column       extra (int32)" in said
    assert "~ column       late: double -> float" in said
    assert "temp        2 of 32 common rows changed, PSI " in said


def test_a_shift_has_a_stability_index_over_one_half_and_a_repeat_has_none(
    make: Make, store: OfflineStore, view: Any, weather_rows: Rows
) -> None:
    make(entity_rows())
    store.ingest(view, weather_rows(range(48), temp=88.0), who="ada")
    make(entity_rows())
    columns = {one.name: one for one in store.diff_datasets("delays@1", "delays@2").columns}
    assert set(columns) == {"temp", "wind_chill"}
    assert (columns["temp"].population_stability or 0) > 0.5
    back = {one.name: one for one in store.diff_datasets("delays@2", "delays@1").columns}
    assert back["temp"].mean == columns["temp"].mean[::-1]


def test_null_rates_stand_beside_the_index_which_leaves_nulls_out(make: Make, store: OfflineStore) -> None:
    make(entity_rows())
    make(entity_rows().with_columns(origin=pl.lit("LGA")))
    found = store.diff_datasets("delays@1", "delays@2")
    assert found.rows == RowsDiff(added=48, removed=48, common=0)
    temp = next(one for one in found.columns if one.name == "temp")
    assert temp == ColumnDiff(
        name="temp",
        changed=0,
        compared=0,
        population_stability=None,
        null_rate=(0.0, 1.0),
        mean=(pytest.approx(63.5), None),
    )
    assert "null 0.0% -> 100.0%" in str(found)


def test_definitions_parameters_and_packages_that_differ_are_told(
    make: Make, store: OfflineStore, registry: Registry, view: FeatureView
) -> None:
    make(entity_rows())
    wider = FeatureView(name="weather", entities=list(view.entities), ttl=timedelta(hours=6), schema=list(view.schema))
    registry.apply([FeatureService(name="flight_delay", features=[wider])], who="tests", allow_breaking=True)
    make(entity_rows(), registry.service("flight_delay"), label=None, split=RandomSplit(), hyperparameters={"a": 1})
    found = store.diff_datasets("delays@1", "delays@2")
    told = {one.what: (one.old, one.new) for one in found.definitions}
    assert told["service"] == ("flight_delay@1", "flight_delay@2")
    assert told["view"] == ("weather@1", "weather@2")
    assert told["on-demand"] == ("chill@1", None)
    assert told["label"] == ("late", None)
    assert told["hyperparameters"] == ({}, {"a": 1})
    assert told["split"][1] == {"by": "row", "shares": {"train": 0.8, "test": 0.2}, "seed": 0}
    assert (found.added, found.removed) == ({"split__": "string"}, {"wind_chill": "double"})
    assert "~ on-demand    chill@1 -> none" in str(found)


def test_datasets_of_other_keys_cannot_be_told_apart_row_by_row(
    make: Make, store: OfflineStore, registry: Registry
) -> None:
    make(entity_rows())
    users = FeatureView(
        name="users",
        entities=[Entity(name="user", join_keys=["user_id"], dtypes=[String])],
        schema=[Field(name="temp", dtype=Float64, tags={"pii": "true"})],
    )
    registry.apply([FeatureService(name="other", features=[users])], who="tests")
    store.ingest(users, [{"user_id": "a", "temp": 1.0, "event_timestamp": START}], who="ada")
    make([{"user_id": "a", "event_timestamp": START, "late": 0.5}], registry.service("other"))
    found = store.diff_datasets("delays@1", "delays@2")
    assert found.rows is None
    assert "48 -> 1; they cannot be told apart: the datasets have not the same keys" in str(found)
    # It is personal in one of the two, so no value of it is shown.
    for names in (("delays@1", "delays@2"), ("delays@2", "delays@1")):
        temp = next(one for one in store.diff_datasets(*names).columns if one.name == "temp")
        assert (temp.changed, temp.mean) == (None, (None, None))


def test_what_cannot_be_read_is_a_clear_error(make: Make, store: OfflineStore) -> None:
    made = make(entity_rows())
    with pytest.raises(ObjectNotFoundError, match='There is no dataset "delays@2"'):
        store.diff_datasets("delays@1", "delays@2")
    made.path.unlink()
    with pytest.raises(OfflineStoreError, match="The rows of dataset delays@1 cannot be read"):
        store.diff_datasets("delays@1", "delays@1")


SIDES = st.lists(st.tuples(st.sampled_from(["JFK", "LGA", None]), st.integers(0, 3)), min_size=1, max_size=12)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=SIDES, new=SIDES)
def test_rows_are_counted_as_bags(make: Make, store: OfflineStore, old: list[Any], new: list[Any]) -> None:
    """Entity rows that come twice count twice, and a null is a key like any other."""

    def rows(side: list[Any]) -> pl.DataFrame:
        schema = {"origin": pl.String, "hour": pl.Int64, "event_timestamp": pl.Datetime("us", "UTC")}
        return pl.DataFrame([(key, hour, START + timedelta(hours=hour)) for key, hour in side], schema, orient="row")

    ids = [make(rows(side), label=None).id for side in (old, new)]
    found = store.diff_datasets(*ids)
    bags = Counter(old), Counter(new)
    assert found.rows == RowsDiff(
        added=(bags[1] - bags[0]).total(), removed=(bags[0] - bags[1]).total(), common=(bags[0] & bags[1]).total()
    )
