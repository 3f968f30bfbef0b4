"""Who refers to whom, over both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from featurestore.definitions import FileSource
from featurestore.registry import Registry


def test_every_version_of_what_refers_to_views_and_services_is_told_with_its_pins(
    registry: Registry, policy: Any
) -> None:
    registry.apply([policy()], who="ada")
    registry.apply([policy(ttl=timedelta(hours=6))], who="ada")
    found = {(one.name, one.version): one for one in registry.referrers()}
    assert found["flight_delay", 1].pins == {"weather": 1, "chill": 1}
    assert found["chill", 2].pins == {"weather": 2}
    assert {key for key, one in found.items() if one.current} == {("chill", 2), ("flight_delay", 2), ("watch", 1)}
    assert {one.kind for one in found.values()} == {"on_demand_feature_view", "feature_service", "monitor_policy"}


def test_what_is_removed_is_current_no_more(registry: Registry, policy: Any) -> None:
    registry.apply([policy()], who="ada")
    registry.remove("watch", who="ada")
    assert "watch" not in registry.current_versions()
    assert [one.current for one in registry.referrers() if one.name == "watch"] == [False]


def test_versions_are_read_together_by_name_and_number(registry: Registry, policy: Any) -> None:
    registry.apply([policy()], who="ada")
    registry.apply([policy(ttl=timedelta(hours=6))], who="ada")
    found = registry.definitions([("weather", 1), ("weather", 2), ("weather", 3), ("chill", 1)], kind="feature_view")
    assert {key: one.definition.ttl for key, one in found.items()} == {  # type: ignore[union-attr]
        ("weather", 1): timedelta(hours=3),
        ("weather", 2): timedelta(hours=6),
    }


def test_views_are_found_by_what_their_source_is_called_to_the_letter(registry: Registry, policy: Any) -> None:
    registry.apply([policy(source=FileSource(name="hourly_1", path='data/100%"/x.parquet'))], who="ada")
    assert [one.id for one in registry.views_that_say("hourly_1")] == ["weather@1"]
    assert [one.id for one in registry.views_that_say('data/100%"/x.parquet')] == ["weather@1"]
    assert registry.views_that_say("hourly%1") == []
    assert registry.views_that_say("hourlyX1") == []


def test_the_sources_of_views_are_told_without_the_views(registry: Registry, policy: Any) -> None:
    source = FileSource(path="data/weather.parquet")
    registry.apply([policy()], who="ada")
    assert registry.view_sources() == {"weather": None}
    registry.apply([policy(source=source)], who="ada")
    assert registry.view_sources() == {"weather": source}
