"""Which versions are live: each reason to be, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, event, update

from featurestore import types
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    Model,
    OnDemandFeatureView,
    PromotionPolicy,
    SharedView,
)
from featurestore.registry import Registry, live_views, open_registry, schema, stored_once

PLANE = Entity(name="plane", join_keys=["tailnum"])
FACTS = FeatureView(name="facts", entities=[PLANE], schema=[Field(name="seats", dtype=types.Int64)])
OTHER = replace(FACTS, name="other", schema=[Field(name="speed", dtype=types.Int64)])


def facts(hours: int) -> FeatureView:
    return replace(FACTS, ttl=timedelta(hours=hours))


def service(hours: int, name: str = "fleet") -> FeatureService:
    return FeatureService(name=name, features=[facts(hours)])


def live(registry: Registry) -> list[str]:
    return [one.id for one in live_views(registry)]


def later(url: str, days: float) -> None:
    """Let time pass since all that was done."""
    engine = create_engine(url)
    with engine.begin() as connection:
        microseconds = timedelta(days=days) // timedelta(microseconds=1)
        connection.execute(update(schema.audit).values(at=schema.audit.c.at - microseconds))
        connection.execute(update(schema.aliases).values(moved_at=schema.aliases.c.moved_at - microseconds))
    engine.dispose()


@pytest.fixture
def two(registry: Registry) -> Registry:
    """A registry with two versions of a service, each with a version of its view."""
    registry.apply([service(1)], who="ada")
    registry.apply([service(2)], who="ada")
    return registry


def test_the_current_version_of_a_view_is_live_until_it_is_removed(registry: Registry) -> None:
    registry.apply([facts(1), OTHER], who="ada")
    registry.apply([facts(2)], who="ada")
    assert live(registry) == ["facts@2", "other@1"]
    registry.remove("facts", who="ada")
    assert live(registry) == ["other@1"]


def test_what_the_current_version_of_a_service_pins_is_live_until_it_is_applied_again(registry: Registry) -> None:
    registry.apply([service(1)], who="ada")
    registry.apply([facts(2)], who="ada")
    assert live(registry) == ["facts@2", "facts@1"]
    registry.apply([service(2)], who="ada")
    assert live(registry) == ["facts@2"]


def test_what_a_service_pins_is_live_until_the_service_is_removed(registry: Registry) -> None:
    registry.apply([service(1)], who="ada")
    registry.apply([facts(2)], who="ada")
    registry.remove("fleet", who="ada")
    assert live(registry) == ["facts@2"]


def test_the_input_of_an_on_demand_view_is_live_and_the_on_demand_view_is_no_stored_view(registry: Registry) -> None:
    legroom = OnDemandFeatureView(
        name="legroom",
        inputs=[facts(1)],
        schema=[Field(name="legroom", dtype=types.Float64)],
        expressions={"legroom": "1.0 / seats"},
    )
    registry.apply([FeatureService(name="fleet", features=[legroom])], who="ada")
    registry.apply([facts(2)], who="ada")
    assert live(registry) == ["facts@2", "facts@1"]


def test_what_an_alias_points_to_is_live(url: str, two: Registry) -> None:
    two.promote("fleet@1", "shadow", who="ada")
    later(url, 400)
    assert live(two) == ["facts@2", "facts@1"]


def test_a_canary_is_live_whatever_its_share(url: str, two: Registry) -> None:
    two.promote("fleet@2", who="ada")
    two.promote("fleet@1", "canary", share=0.0, who="ada")
    later(url, 400)
    assert live(two) == ["facts@2", "facts@1"]


@pytest.mark.parametrize("leave", ["promote", "rollback", "demote", "demote canary", "another canary"])
def test_what_an_alias_has_left_is_live_for_thirty_days(url: str, two: Registry, leave: str) -> None:
    if leave == "rollback":  # away from the first version, back to where it was before
        two.promote("fleet@2", who="ada")
    if leave.endswith("canary"):
        two.promote("fleet@2", who="ada")
        two.promote("fleet@1", "canary", share=0.1, who="ada")
    else:
        two.promote("fleet@1", who="ada")
    later(url, 400)
    match leave:
        case "promote":
            two.promote("fleet@2", who="ada")
        case "rollback":
            two.rollback("fleet", who="ada")
        case "demote":
            two.demote("fleet", "production", who="ada")
        case "demote canary":
            two.demote("fleet", "canary", who="ada")
        case "another canary":
            two.apply([service(3)], who="ada")
            two.promote("fleet@3", "canary", share=0.1, who="ada")
    kept = [one for one in live(two) if one != "facts@3"]
    assert sorted(kept) == ["facts@1", "facts@2"]
    later(url, 29.9)
    assert sorted(one for one in live(two) if one != "facts@3") == ["facts@1", "facts@2"]
    later(url, 0.2)
    assert [one for one in live(two) if one != "facts@3"] == ["facts@2"]


def test_an_entry_that_somebody_recorded_by_hand_stops_no_load(two: Registry) -> None:
    before = [one.id for one in two.live_views()]
    two.record("promote", "spending@1", {"said": "by mail"}, who="ada")
    assert [one.id for one in two.live_views()] == before


def test_what_stands_further_down_an_alias_way_back_is_not_live(url: str, two: Registry) -> None:
    two.promote("fleet@1", who="ada")
    two.promote("fleet@2", who="ada")
    assert two.alias_records()[0].before == (1,)
    later(url, 31)
    assert live(two) == ["facts@2"]


def test_what_a_model_was_trained_with_is_live_until_the_model_is_removed(two: Registry) -> None:
    two.record_dataset("delays", {"service": "fleet@1"}, who="ada")
    two.record_model(Model(name="ridge", service="fleet@1", dataset="delays@1"), who="ada")
    assert live(two) == ["facts@2", "facts@1"]
    two.remove("ridge", who="ada")
    assert live(two) == ["facts@2"]


@pytest.mark.parametrize("decision", ["rejected", "pending"])
def test_what_waits_for_approval_is_live_until_it_is_turned_down(two: Registry, decision: str) -> None:
    two.apply([PromotionPolicy(name="four_eyes", service=service(2))], who="ada")
    waiting = two.request_promotion("fleet@1", who="ada")
    assert waiting is not None
    assert live(two) == ["facts@2", "facts@1"]
    if decision == "rejected":
        two.reject(waiting.number, who="bob")
        assert live(two) == ["facts@2"]


@pytest.fixture
def ads(url: str, registry: Registry) -> Iterator[Registry]:
    """Another project, which may use the view."""
    registry.apply([facts(1)], who="ada")
    registry.share("facts", "ads", who="ada")
    with open_registry(url, "ads") as other:
        other.apply([FeatureService(name="campaign", features=[SharedView("flights/facts")])], who="eve")
        yield other


def test_what_another_project_pins_is_live_until_it_pins_another_version(registry: Registry, ads: Registry) -> None:
    registry.apply([facts(2)], who="ada")
    assert live(registry) == ["facts@2", "facts@1"]
    ads.apply([FeatureService(name="campaign", features=[SharedView("flights/facts")])], who="eve")
    assert live(registry) == ["facts@2"]


def test_what_another_project_has_promoted_is_live_for_thirty_days_after(
    url: str, registry: Registry, ads: Registry
) -> None:
    ads.promote("campaign@1", who="eve")
    registry.apply([facts(2)], who="ada")
    ads.apply([FeatureService(name="campaign", features=[SharedView("flights/facts")])], who="eve")
    later(url, 400)
    assert live(registry) == ["facts@2", "facts@1"]
    ads.promote("campaign@2", who="eve")
    assert live(registry) == ["facts@2", "facts@1"]
    later(url, 31)
    assert live(registry) == ["facts@2"]


def test_what_another_project_pins_is_live_no_more_once_consent_is_withdrawn(registry: Registry, ads: Registry) -> None:
    ads.promote("campaign@1", who="eve")
    registry.apply([facts(2)], who="ada")
    mine = replace(FACTS, schema=[Field(name="seats", dtype=types.Int64), Field(name="rows", dtype=types.Int64)])
    ads.apply([FeatureService(name="campaign", features=[mine])], who="eve")
    ads.promote("campaign@2", who="eve")
    assert live(registry) == ["facts@2", "facts@1"]  # a rollback may still lead there
    registry.apply([OTHER], who="ada")
    registry.share("other", "ads", who="ada")  # leave for one view is no leave for all
    registry.unshare("facts", "ads", who="ada")
    assert live(registry) == ["facts@2", "other@1"]


def test_the_views_of_another_project_are_not_live_here(ads: Registry) -> None:
    mine = replace(FACTS, name="mine")
    ads.apply([mine], who="eve")
    assert live(ads) == ["mine@1"]


def test_one_view_is_looked_at_alone(two: Registry) -> None:
    two.apply([OTHER], who="ada")
    two.promote("fleet@1", who="ada")
    assert [one.id for one in live_views(two, "facts")] == ["facts@2", "facts@1"]
    assert [one.id for one in live_views(two, "other")] == ["other@1"]
    assert live_views(two, "nothing") == []


def test_versions_that_share_rows_are_stored_once_by_the_one_that_keeps_them_longest(two: Registry) -> None:
    two.apply([service(9)], who="ada")
    two.promote("fleet@2", who="ada")
    two.promote("fleet@1", "shadow", who="ada")
    assert live(two) == ["facts@3", "facts@2", "facts@1"]
    assert [one.id for one in stored_once(live_views(two))] == ["facts@3"]


def test_as_many_queries_are_asked_however_many_services_there_are(url: str) -> None:
    with open_registry(url, "few") as few, open_registry(url, "many") as many:
        few.apply([service(1)], who="ada")
        many.apply([service(1, f"fleet{number}") for number in range(30)], who="ada")
        for number in range(30):
            many.promote(f"fleet{number}", who="ada")
        asked: list[list[str]] = []
        for registry in (few, many):
            statements: list[str] = []
            event.listen(registry._database.engine, "before_cursor_execute", lambda *a, to=statements: to.append(a[2]))
            assert len(live_views(registry)) == 1
            asked.append(statements)
        assert len(asked[0]) == len(asked[1]) <= 10
