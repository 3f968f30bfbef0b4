"""Views of other projects as definitions: what stands for them before the registry was asked, and after."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from featurestore import types
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
    SharedFeatureView,
    SharedView,
    content_hash,
    storage_hash,
    storage_id,
)
from featurestore.definitions.shared import view_from_spec
from featurestore.errors import DefinitionError

WEATHER = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"])],
    ttl=timedelta(hours=3),
    schema=[Field(name="temp", dtype=types.Float64), Field(name="wind", dtype=types.Float64)],
    tags={"team": "sales"},
)
THEIRS = SharedFeatureView.of(WEATHER, "sales")
SERVICE = FeatureService(name="campaign", features=[THEIRS[["temp"]]])


def test_the_hash_of_a_service_with_a_view_of_another_project_is_the_same_for_ever() -> None:
    assert content_hash(SERVICE) == "347fbed6ad3c74ad889fba47ef336f998391ecb278dbb12866dcbd1cc4983117"


def test_whose_view_it_is_counts_for_the_service_and_not_for_the_rows() -> None:
    hashes = {
        content_hash(replace(SERVICE, features=[view[["temp"]]]))
        for view in (WEATHER, THEIRS, SharedFeatureView.of(WEATHER, "others"))
    }
    assert len(hashes) == 3
    assert (storage_hash(THEIRS), storage_id(THEIRS)) == (storage_hash(WEATHER), storage_id(WEATHER))
    assert THEIRS != WEATHER
    assert (WEATHER.reference, THEIRS.reference) == ("weather", "sales/weather")


@pytest.mark.parametrize("view", [WEATHER, THEIRS])
def test_a_view_comes_back_from_its_spec_as_what_it_was(view: FeatureView) -> None:
    assert view_from_spec(view.spec(), view.notes()) == view
    service = FeatureService(name="campaign", features=[view])
    assert FeatureService.from_spec(service.spec(), service.notes()) == service


def test_an_on_demand_view_comes_back_with_its_inputs() -> None:
    chill = OnDemandFeatureView(
        name="chill",
        inputs=[THEIRS],
        schema=[Field(name="chill", dtype=types.Float64)],
        expressions={"chill": "temp - wind"},
    )
    assert OnDemandFeatureView.from_spec(chill.spec(), chill.notes()) == chill


def test_what_it_is_called_is_taken_apart() -> None:
    shared = SharedView("my.sales-2/weather@3")[["temp"]]
    assert (shared.project, shared.name, shared.features) == ("my.sales-2", "weather", ("temp",))


def test_two_views_of_one_name_do_not_fit_into_a_service() -> None:
    with pytest.raises(DefinitionError, match='names "weather" twice'):
        FeatureService(name="campaign", features=[SharedView("sales/weather"), WEATHER])


def test_what_is_written_alike_is_equal() -> None:
    assert SharedView("sales/weather") == SharedView("sales/weather")
    assert FeatureService(name="a", features=[SharedView("sales/weather")]) == FeatureService(
        name="a", features=[SharedView("sales/weather")]
    )
