"""One view used several times: under other join keys, and under names of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
    SharedFeatureView,
    SharedView,
    content_hash,
    on_demand_feature_view,
)
from featurestore.errors import DefinitionError
from featurestore.transforms import Transform
from featurestore.types import Float64, Int64, String

AIRPORT = Entity(name="airport", join_keys=["origin"], dtypes=[String])
WEATHER = FeatureView(
    name="weather",
    entities=[AIRPORT],
    schema=[Field(name="temp", dtype=Float64, default=7.0, tags={"pii": "true"}), Field(name="wind", dtype=Float64)],
)
ROUTE = FeatureView(
    name="route",
    entities=[Entity(name="pair", join_keys=["origin", "dest"], dtypes=[String, String])],
    schema=[Field(name="miles", dtype=Int64)],
)
DEST = WEATHER.with_join_key_map({"origin": "dest"}, name="dest_weather")
WARMER = OnDemandFeatureView(
    name="warmer",
    inputs=[WEATHER, DEST],
    schema=[Field(name="difference", dtype=Float64)],
    expressions={"difference": "dest_weather__temp - temp"},
)


def service(*features: Any) -> FeatureService:
    return FeatureService(name="flights", features=features)


def names(one: FeatureService) -> list[str]:
    return [feature.name for fields in one.outputs.values() for feature in fields]


def test_a_view_is_used_twice_and_each_use_has_its_keys_and_its_features() -> None:
    both = service(WEATHER, DEST[["temp"]])
    assert both.keys == {"origin": String, "dest": String}
    assert both.outputs.keys() == {"weather", "dest_weather"}
    assert names(both) == ["temp", "wind", "dest_weather__temp"]
    assert both.views == (WEATHER,)
    assert [(use.name, use.columns) for use in both.uses] == [
        ("weather", {"origin": "origin"}),
        ("dest_weather", {"origin": "dest"}),
    ]


def test_a_use_has_the_features_that_are_read() -> None:
    assert [use.features for use in service(DEST[["wind"]], WARMER).uses] == [None, None], "an input is a whole view"
    assert [use.features for use in service(WARMER, DEST[["wind"]]).uses] == [None, None]
    assert [use.features for use in service(WEATHER[["wind"]], ROUTE).uses] == [("wind",), None]


def test_a_feature_under_its_full_name_is_the_views_feature_in_all_else() -> None:
    (temp,) = DEST[["temp"]].outputs
    assert (temp.name, temp.feature) == ("dest_weather__temp", "temp")
    assert (temp.dtype, temp.default, temp.pii) == (Float64, 7.0, True)
    assert WEATHER.schema[0].feature == "temp"


def test_a_use_without_a_name_of_its_own_keeps_the_plain_names() -> None:
    one = service(WEATHER.with_join_key_map({"origin": "dest"}), ROUTE)
    assert names(one) == ["temp", "wind", "miles"]
    assert one.keys == {"dest": String, "origin": String}


def test_a_name_without_a_map_gives_full_names_and_the_same_keys() -> None:
    assert names(service(WEATHER.with_name("here"))) == ["here__temp", "here__wind"]
    assert service(WEATHER.with_name("here")).keys == WEATHER.keys


def test_two_join_keys_may_change_places() -> None:
    back = ROUTE.with_join_key_map({"origin": "dest", "dest": "origin"}, name="way_back")
    assert back.columns == {"origin": "dest", "dest": "origin"}
    assert list(service(ROUTE, back).keys) == ["origin", "dest"]


STEPS: dict[str, Callable[[Any], Any]] = {
    "name": lambda use: use.with_name("dest_weather"),
    "map": lambda use: use.with_join_key_map({"origin": "dest"}),
    "features": lambda use: use[["wind"]],
}


@given(st.permutations(list(STEPS)), st.sampled_from([WEATHER, SharedView("sales/weather")]))
def test_the_order_in_which_a_use_is_written_does_not_matter(order: list[str], start: Any) -> None:
    use, other = start, start
    for step in order:
        use = STEPS[step](use)
    for step in STEPS:
        other = STEPS[step](other)
    assert use == other == start[["wind"]].with_join_key_map({"origin": "dest"}, name="dest_weather")


def test_a_choice_of_a_choice_takes_of_what_was_chosen() -> None:
    assert WEATHER[["temp", "wind"]][["wind"]] == WEATHER[["wind"]]
    with pytest.raises(DefinitionError, match='has no feature "temp"'):
        WEATHER[["wind"]][["temp"]]


def test_a_key_that_is_mapped_to_itself_changes_nothing() -> None:
    assert content_hash(service(WEATHER.with_join_key_map({"origin": "origin"}))) == content_hash(service(WEATHER))
    assert content_hash(service(WEATHER.with_name("weather"))) == content_hash(service(WEATHER))


def test_a_map_and_a_name_change_the_hash_and_a_service_without_them_keeps_its_own() -> None:
    uses = [WEATHER, WEATHER.with_name("w"), WEATHER.with_join_key_map({"origin": "dest"}), DEST]
    hashes = [content_hash(service(use)) for use in uses]
    assert len(set(hashes)) == len(uses)
    assert "join_key_map" not in json.dumps(service(WEATHER, WEATHER.with_name("w")[["temp"]]).spec())
    # Of releases to come too: it is the identity between registries.
    assert hashes[3] == "2f048832783fc54deaf572de6c1fae5fd07ed7251eb4946dd9a5eb71e680b6cd"


@st.composite
def uses(draw: st.DrawFn) -> Any:
    view = draw(st.sampled_from([WEATHER, ROUTE, SharedFeatureView.of(WEATHER, "sales")]))
    use: Any = view
    if draw(st.booleans()):
        use = view[[draw(st.sampled_from([one.name for one in view.schema]))]]
    if draw(st.booleans()):
        use = use.with_join_key_map({key: f"{key}_2" for key in draw(st.sets(st.sampled_from(list(view.keys))))})
    return use.with_name(draw(st.sampled_from(["a", "b_2"]))) if draw(st.booleans()) else use


@given(uses(), st.booleans())
def test_every_service_comes_back_from_its_text(use: Any, computed: bool) -> None:
    whole = replace(use, features=None) if hasattr(use, "features") else use
    view = OnDemandFeatureView(
        name="computed",
        inputs=[whole],
        request=[Field(name="r", dtype=Int64)],
        schema=[Field(name="c", dtype=Int64)],
        expressions={"c": "r"},
    )
    written = service(use, view) if computed else service(use)
    spec, notes = (json.loads(json.dumps(part)) for part in (written.spec(), written.notes()))
    again = FeatureService.from_spec(spec, notes)
    assert again.spec() == written.spec()
    assert again.notes() == written.notes()
    assert (again.outputs, again.keys, again.uses) == (written.outputs, written.keys, written.uses)


def test_an_on_demand_view_names_the_features_of_its_uses_in_full() -> None:
    assert [one.name for one in WARMER.given] == ["temp", "wind", "dest_weather__temp", "dest_weather__wind"]
    assert OnDemandFeatureView.from_spec(WARMER.spec(), WARMER.notes()) == WARMER
    found = Transform(WARMER).evaluate(pl.DataFrame({"temp": [1.0, 5.0], "dest_weather__temp": [3.0, None]}))
    assert found["difference"].to_list() == [2.0, None]
    assert list(service(WARMER).keys) == ["origin", "dest"]
    assert names(service(WARMER)) == ["difference"]


def test_a_function_gets_the_features_of_a_use_in_full_and_so_have_its_examples_them() -> None:
    @on_demand_feature_view(
        inputs=[DEST],
        schema=[Field(name="double", dtype=Float64)],
        examples=[{"dest_weather__temp": 2.0, "double": 4.0}],
    )
    def doubled(rows: pl.DataFrame) -> dict[str, pl.Series]:
        return {"double": rows["dest_weather__temp"] * 2}

    again = OnDemandFeatureView.from_spec(doubled.spec(), doubled.notes())
    assert again == doubled
    rows = pl.DataFrame({"dest_weather__temp": [1.5], "dest_weather__wind": [None]})
    schema = {"dest_weather__wind": pl.Float64}
    assert Transform(again).evaluate(rows.cast(schema))["double"].to_list() == [3.0]


def test_a_use_may_have_the_name_of_a_view_that_is_used_under_another() -> None:
    climate = replace(WEATHER, name="climate")
    one = service(WEATHER.with_name("climate"), climate.with_name("weather"))
    assert [(use.name, use.view.name) for use in one.uses] == [("climate", "weather"), ("weather", "climate")]
    assert names(one) == ["climate__temp", "climate__wind", "weather__temp", "weather__wind"]


def test_a_view_of_another_project_is_used_in_the_same_way() -> None:
    shared = SharedView("sales/weather")
    use = shared[["temp"]].with_join_key_map({"origin": "dest"}, name="dest_weather")
    assert service(shared, use).shared == (shared, use)
    theirs = SharedFeatureView.of(WEATHER, "sales")
    assert use.used(theirs) == theirs.with_join_key_map({"origin": "dest"}, name="dest_weather")[["temp"]]
    assert shared.used(theirs) is theirs
    assert len({shared, use}) == 2, "it can be in a set"


FAULTS: list[tuple[Callable[[], object], str, str]] = [
    (lambda: WEATHER.with_join_key_map({"orign": "dest"}), 'maps "orign", which is no join key', '"origin"'),
    (
        lambda: WEATHER.with_join_key_map({"dest": "origin"}),
        'maps "dest", which is no join',
        "view's key to your column",
    ),
    (lambda: WEATHER.with_join_key_map({"origin": "a b"}), "'a b' cannot name the column", ""),
    (lambda: WEATHER.with_join_key_map({"origin": "event_timestamp"}), '"event_timestamp" cannot name', ""),
    (lambda: WEATHER.with_join_key_map(["dest"]), "which is not a dict", ""),  # type: ignore[arg-type]
    (lambda: ROUTE.with_join_key_map({"origin": "dest"}), 'names "dest" twice', ""),
    (lambda: WEATHER.with_name("dest__weather"), "cannot name a use of view", ""),
    (lambda: SharedView("a/b").with_name("no name"), "cannot name a use of view", ""),
    (lambda: WEATHER.with_name("w")[["tmp"]], 'has no feature "tmp"', '"temp"'),
    (lambda: service(WEATHER, WEATHER), 'names "weather" twice', "name of its own"),
    (
        lambda: service(WEATHER, WEATHER.with_join_key_map({"origin": "dest"})),
        'names "weather" twice',
        "with_join_key_map(",
    ),
    (
        lambda: service(WEATHER.with_join_key_map({"origin": "dest"}), WARMER),
        'uses view "weather" by different join keys, both times as "weather"',
        "weather.with_join_key_map({'origin': 'dest'}, name=\"...\")",
    ),
    (
        lambda: service(ROUTE, replace(WARMER, inputs=[WEATHER.with_name("route"), WEATHER, DEST])),
        'uses view "route" and view "weather" both as "route"',
        'weather.with_name("...")',
    ),
    (
        lambda: service(WEATHER, replace(WEATHER, ttl=None, owner="eve").with_name("w")),
        'two different definitions of view "weather"',
        "one object",
    ),
    (
        lambda: service(WEATHER, replace(WEATHER, name="climate")),
        'gets a feature "temp" from "weather" and from "climate"',
        'climate.with_name("...") gives ...__temp',
    ),
    (lambda: service(WEATHER.with_name("warmer"), WARMER), 'names "warmer" twice', ""),
    (lambda: service(WEATHER, WARMER, DEST.with_join_key_map({"origin": "temp"})), "by different join keys", ""),
    (lambda: service(WEATHER, DEST.with_join_key_map({"origin": "temp"})), 'both needs "temp" with each request', ""),
    (lambda: replace(WARMER, inputs=[WEATHER, DEST[["temp"]]]), 'some features of "dest_weather"', "whole view"),
    (
        lambda: replace(WARMER, inputs=[WEATHER, WEATHER.with_join_key_map({"origin": "dest"})]),
        "by different join keys",
        "name=",
    ),
    (
        lambda: replace(WEATHER, schema=[Field(name="status", dtype=Int64)]).with_name("w"),
        '"w__status", which is that of the column',
        "Rename the feature",
    ),
]


@pytest.mark.parametrize(("build", "message", "hint"), FAULTS)
def test_what_cannot_be_is_refused_with_what_to_do(build: Callable[[], object], message: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        build()
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_feature_called_status_may_be_left_out_of_a_named_use() -> None:
    view = replace(WEATHER, schema=[*WEATHER.schema, Field(name="status", dtype=Int64)])
    assert names(service(view, view[["temp"]].with_name("w"))) == ["temp", "wind", "status", "w__temp"]
