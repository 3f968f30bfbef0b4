"""Services that use one view several times, in the registry: plans, differences, pins and what breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
    SharedView,
    ViewProjection,
)
from featurestore.errors import BreakingChangeError, DefinitionError
from featurestore.registry import Registry, live_views, open_registry, planfile
from featurestore.types import Float64, String

WEATHER = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"], dtypes=[String])],
    schema=[Field(name="temp", dtype=Float64, description="Fahrenheit"), Field(name="wind", dtype=Float64)],
)
DEST = WEATHER.with_join_key_map({"origin": "dest"}, name="dest_weather")


def warmer(dest: ViewProjection = DEST) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        name="warmer",
        inputs=[WEATHER, dest],
        schema=[Field(name="difference", dtype=Float64)],
        expressions={"difference": "dest_weather__temp - temp"},
    )


def flights(dest: ViewProjection = DEST) -> FeatureService:
    return FeatureService(name="flights", features=[WEATHER, dest[["temp"]], warmer(dest)])


def test_a_plan_shows_each_use_with_its_keys_and_its_name(registry: Registry) -> None:
    text = registry.plan([flights()]).render()
    assert "+ inputs = weather@1, weather@1 (origin from dest) as dest_weather\n" in text
    assert "+ features = weather@1, weather@1[temp] (origin from dest) as dest_weather, warmer@1\n" in text


def test_a_service_comes_back_and_pins_the_view_once(registry: Registry) -> None:
    registry.apply([flights()], who="ada")
    found = registry.service("flights")
    assert found.pins == {"weather": 1, "warmer": 1}
    assert found.definition == flights()
    assert [view.id for view in live_views(registry, "weather")] == ["weather@1"]
    assert registry.show("flights")["definition"]["features"] == {
        "weather": "weather@1",
        "dest_weather": "weather@1[temp] (origin from dest)",
        "warmer": "warmer@1",
    }
    assert registry.show("weather")["used_by"] == ["feature_service flights@1", "on_demand_feature_view warmer@1"]


def test_applying_again_changes_nothing_and_a_new_version_of_the_view_is_pinned_by_both_uses(
    registry: Registry,
) -> None:
    registry.apply([flights()], who="ada")
    assert registry.plan([flights()]).is_empty
    colder = replace(WEATHER, schema=[*WEATHER.schema, Field(name="dewp", dtype=Float64)])
    both = FeatureService(
        name="flights", features=[colder, colder.with_join_key_map({"origin": "dest"}, name="dest_weather")]
    )
    registry.apply([both], who="ada", allow_breaking=True)
    assert registry.service("flights@2").pins == {"weather": 2}
    assert registry.service("flights@1").definition == flights()


def test_another_column_for_a_key_breaks_callers_and_the_difference_says_so(registry: Registry) -> None:
    registry.apply([flights()], who="ada")
    moved = flights(DEST.with_join_key_map({"origin": "to_airport"}))
    with pytest.raises(BreakingChangeError) as caught:
        registry.apply([moved], who="ada")
    assert 'feature_service flights: join key "dest" is removed' in caught.value.message
    assert 'feature_service flights: join key "to_airport" is added' in caught.value.message
    registry.apply([moved], who="ada", allow_breaking=True)
    assert (
        '~ features.dest_weather: "weather@1[temp] (origin from dest)" -> "weather@1[temp] (origin from to_airport)"'
        in registry.diff("flights@1", "flights@2").render()
    )


def test_another_name_of_a_use_takes_its_features_away(registry: Registry) -> None:
    first = FeatureService(name="flights", features=[WEATHER, DEST[["temp"]]])
    registry.apply([first], who="ada")
    plan = registry.plan([replace(first, features=[WEATHER, DEST[["temp"]].with_name("arrival")])])
    assert plan.breaking == ('feature_service flights: feature "dest_weather__temp" is removed',)


def test_one_more_use_by_keys_that_callers_send_already_breaks_nothing(registry: Registry) -> None:
    one = DEST.with_name("arrival")
    registry.apply([FeatureService(name="flights", features=[WEATHER, DEST])], who="ada")
    assert registry.plan([FeatureService(name="flights", features=[WEATHER, DEST, one])]).breaking == ()


def test_a_search_finds_services_and_on_demand_views_by_the_names_of_their_uses(registry: Registry) -> None:
    registry.apply([flights()], who="ada")
    assert [(one.id, one.where) for one in registry.search("dest_weather")] == [
        ("flights@1", ("use dest_weather",)),
        ("warmer@1", ("use dest_weather",)),
    ]


def test_a_saved_plan_keeps_uses(registry: Registry, tmp_path: Path) -> None:
    planfile.save(registry.plan([flights()]), tmp_path / "plan.json", who="ada")
    saved = planfile.read(tmp_path / "plan.json")
    registry.apply(saved.definitions, who="ada", saved=saved)
    assert registry.service("flights").definition == flights()


@pytest.fixture
def ads(url: str) -> Iterator[Registry]:
    """A project that may use the weather of another."""
    with open_registry(url, "sales") as sales, open_registry(url, "ads") as opened:
        sales.apply([WEATHER], who="ada")
        sales.share("weather", "ads", who="ada")
        yield opened


def test_a_view_of_another_project_is_used_several_times(ads: Registry) -> None:
    shared = SharedView("sales/weather")
    dest = shared.with_join_key_map({"origin": "dest"}, name="dest_weather")
    computed = OnDemandFeatureView(
        name="warmer",
        inputs=[dest],
        schema=[Field(name="twice", dtype=Float64)],
        expressions={"twice": "dest_weather__temp * 2"},
    )
    text = ads.apply([FeatureService(name="bids", features=[shared, dest[["temp"]], computed])], who="eve").render()
    assert 'features.dest_weather = "sales/weather@1[temp] (origin from dest)"' in text
    found = ads.service("bids")
    assert found.pins == {"sales/weather": 1, "warmer": 1}
    assert list(found.definition.keys) == ["origin", "dest"]
    assert [one.name for one in found.definition.outputs["dest_weather"]] == ["dest_weather__temp"]


def test_a_key_that_the_view_of_another_project_has_not_is_refused_where_it_is_written(ads: Registry) -> None:
    wrong = SharedView("sales/weather").with_join_key_map({"orig": "dest"})
    with pytest.raises(DefinitionError, match='maps "orig", which is no join key') as caught:
        ads.plan([FeatureService(name="bids", features=[wrong])])
    assert "test_uses.py" in caught.value.where
