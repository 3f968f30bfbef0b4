"""One view used several times by a service: what training reads and what is served are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.definitions import ViewProjection, storage_id
from featurestore.errors import SchemaError
from featurestore.types import Int64, String

PLACES = ("JFK", "LAX")
MINUTE = timedelta(minutes=1)
#: In minutes. No row is so near to its end that it comes while the test runs.
TTL = 60
AGES = st.integers(0, 11).map(lambda tenth: 5 + 10 * tenth)

Row = tuple[tuple[str, ...], int, int | None]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    folder: Path = tmp_path_factory.mktemp("flights") / "store"
    with FeatureStore.init(folder) as opened:
        yield opened


def stored_view(name: str, keys: list[str], feature: str) -> FeatureView:
    entity = Entity(name=f"{name}_of", join_keys=keys, dtypes=[String] * len(keys))
    return FeatureView(
        name=name, entities=[entity], ttl=TTL * MINUTE, schema=[Field(name=feature, dtype=Int64, default=-1)]
    )


def rows_of(keys: int) -> st.SearchStrategy[list[Row]]:
    key = st.tuples(*[st.sampled_from(PLACES)] * keys)
    # One row for a key and an instant: ties are the join's own tests' to try.
    row = st.tuples(key, AGES, st.none() | st.integers(0, 99))
    some = st.lists(row, min_size=5, max_size=12, unique_by=lambda row: (row[0], row[1]))
    return st.just([]) | some | some | some


def expected(use: ViewProjection, rows: list[Row], asked: Mapping[str, str | None]) -> tuple[int, int | None]:
    """Return the value that a use has for an entity row, and the age of its row in minutes, by looking at every row."""
    key = tuple(asked[column] for column in use.columns.values())
    found = min(((age, value) for at, age, value in rows if at == key and age <= TTL), default=None)
    return (-1, None) if found is None else (-1 if found[1] is None else found[1], found[0])


numbers = count()


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_training_and_serving_agree_on_every_use_and_with_a_look_at_every_row(
    store: FeatureStore, data: st.DataObject
) -> None:
    number = next(numbers)
    weather = stored_view(f"weather{number}", ["origin"], "temp")
    route = stored_view(f"route{number}", ["origin", "dest"], "miles")
    rows = {weather.name: data.draw(rows_of(1), "weather"), route.name: data.draw(rows_of(2), "route")}
    uses = {
        "plain": weather,
        "dest": weather.with_join_key_map({"origin": "dest"}, name="arrival"),
        "third": weather.with_join_key_map({"origin": "via"}, name="stop"),
        "route": route,
        "back": route.with_join_key_map({"origin": "dest", "dest": "origin"}, name="way_back"),
        "leg": route.with_join_key_map({"dest": "via"}, name="first_leg"),
    }
    chosen = data.draw(st.lists(st.sampled_from(list(uses)), min_size=2, unique=True), "uses")
    sums = OnDemandFeatureView(
        name=f"sums{number}",
        inputs=[uses["plain"], uses["dest"], uses["back"]],
        schema=[Field(name="total", dtype=Int64)],
        expressions={"total": "temp + 100 * arrival__temp + 10000 * way_back__miles"},
    )
    computed = [sums] if data.draw(st.booleans(), "on demand") else []
    service = FeatureService(name=f"flights{number}", features=[*(uses[one] for one in chosen), *computed])
    store.apply(service)
    now = datetime.now(UTC)
    for view in (weather, route):
        loaded = [
            dict(zip(view.keys, key, strict=True)) | {view.schema[0].name: value, "event_timestamp": now - age * MINUTE}
            for key, age, value in rows[view.name]
        ]
        if view in service.views and loaded:
            store.ingest(view.name, loaded)
            store.materialize(view.name)
    place = st.sampled_from([*PLACES * 3, None])
    asked = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(service.keys, place)), min_size=4, max_size=6))

    online = store.get_online_features(service.name, asked)
    offline = store.get_historical_features(
        [one | {"event_timestamp": now} for one in asked], service.name, with_status=True
    ).to_polars()

    served = online.to_dict()
    assert {name: offline[name].to_list() for name in served} == served
    for use in service.uses:
        right = [expected(use, rows[use.view.name], one) for one in asked]
        for feature in service.outputs.get(use.name, ()):
            assert served[feature.name] == [value for value, _ in right]
        present = [age is not None for _, age in right]
        assert [status == 1 for status in offline[f"{use.name}__status"]] == present
        true_at = offline[f"{use.name}__event_timestamp"].to_list()
        assert [at for at, here in zip(true_at, present, strict=True) if here] == [
            now - age * MINUTE for _, age in right if age is not None
        ]
        if use.name in online.statuses:
            assert [status == "PRESENT" for status in online.statuses[use.name]] == present
            assert [at for at, here in zip(online.event_timestamps[use.name], present, strict=True) if here] == [
                at for at, here in zip(true_at, present, strict=True) if here
            ]
    if computed:
        values = [[expected(use, rows[use.view.name], one)[0] for one in asked] for use in sums.uses]
        assert served["total"] == [a + 100 * b + 10_000 * c for a, b, c in zip(*values, strict=True)]


WEATHER = stored_view("weather", ["origin"], "temp")
DEST = WEATHER.with_join_key_map({"origin": "dest"}, name="dest_weather")
PAIR = [{"origin": "JFK", "dest": "LAX"}]


@pytest.fixture
def flights(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "store") as opened:
        opened.apply(FeatureService(name="flights", features=[WEATHER, DEST]))
        now = datetime.now(UTC)
        rows = [{"origin": place, "temp": at, "event_timestamp": now - MINUTE} for at, place in enumerate(PLACES)]
        opened.ingest("weather", rows)
        yield opened


def test_two_join_keys_that_change_places_lead_to_the_row_of_the_way_back(flights: FeatureStore) -> None:
    route = stored_view("route", ["origin", "dest"], "miles")
    back = route.with_join_key_map({"origin": "dest", "dest": "origin"}, name="way_back")
    flights.apply(FeatureService(name="trips", features=[route, back]))
    now = datetime.now(UTC)
    there = {"origin": "JFK", "dest": "LAX", "event_timestamp": now}
    flights.ingest("route", [there | {"miles": 1}, there | {"origin": "LAX", "dest": "JFK", "miles": 2}])
    flights.materialize("route")
    assert flights.get_online_features("trips", PAIR).to_dict() == {"miles": [1], "way_back__miles": [2]}
    (row,) = flights.get_historical_features([there], "trips").to_arrow().to_pylist()
    assert (row["miles"], row["way_back__miles"]) == (1, 2)


def test_a_view_that_is_used_twice_is_materialized_once(flights: FeatureStore) -> None:
    flights.materialize("weather")
    done = flights.registry.last_materialization(storage_id(WEATHER))
    assert done is not None
    assert done.counts["written"] == len(PLACES)
    assert flights.get_online_features("flights", PAIR).to_dict() == {"temp": [0], "dest_weather__temp": [1]}


def test_entity_rows_lack_a_column_of_a_use_or_have_one_of_its_status(flights: FeatureStore) -> None:
    row = PAIR[0] | {"event_timestamp": datetime.now(UTC)}
    with pytest.raises(SchemaError, match='"dest"'):
        flights.get_historical_features([{key: row[key] for key in ("origin", "event_timestamp")}], "flights")
    with pytest.raises(SchemaError, match="dest_weather__status"):
        flights.get_historical_features([row | {"dest_weather__status": 1}], "flights", with_status=True)


def test_a_training_set_has_each_use_by_its_name(flights: FeatureStore) -> None:
    rows: list[dict[str, Any]] = [PAIR[0] | {"event_timestamp": datetime.now(UTC), "late": 1.0}]
    made = flights.create_training_dataset("pairs", entity_df=rows, features="flights", label="late")
    assert made.manifest["features"] == ["temp", "dest_weather__temp"]
    assert list(made.manifest["views"]) == ["weather"]
    again = flights.get_training_dataset("pairs@1").to_arrow().to_pylist()
    assert [(one["temp"], one["dest_weather__temp"]) for one in again] == [(0, 1)]


def test_a_definition_says_what_it_means_in_a_request_by_another_service(flights: FeatureStore) -> None:
    """A use belongs to its service: others that use the view have its own keys and names."""
    flights.apply(FeatureService(name="plain", features=[WEATHER]))
    flights.apply(FeatureService(name="arrivals", features=[WEATHER.with_join_key_map({"origin": "airport"})]))
    flights.materialize("weather")
    assert flights.get_online_features("plain", [{"origin": "LAX"}]).to_dict() == {"temp": [1]}
    assert flights.get_online_features("arrivals", [{"airport": "LAX"}]).to_dict() == {"temp": [1]}
