"""Versions: found by reference, pinned to each other, the same when they come back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from featurestore.definitions import Definition, FeatureService, MonitorPolicy, content_hash
from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.registry import Registry, open_registry

Build = Callable[..., MonitorPolicy]


def test_definitions_come_back_as_they_were_applied(registry: Registry, policy: Build) -> None:
    applied = policy(description="hourly", tags={"team": "ops"})
    registry.apply([applied], who="ada")
    service = applied.service
    originals: list[Definition] = [applied, service, *service.views, *service.on_demand_views]
    for original in originals:
        found = registry.get(original.name)
        assert found.definition == original
        assert found.content_hash == content_hash(original)
        assert (found.project, found.applied_by) == ("flights", "ada")


def test_a_version_keeps_the_versions_that_it_was_applied_with(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.apply([policy(ttl=None).service.views[0]], who="ada")
    assert registry.get("weather").version == 2
    assert registry.service("flight_delay").pins == {"weather": 1, "chill": 1}
    assert registry.get("chill").pins == {"weather": 1}
    assert registry.get("weather").pins == {"airport": 1}
    assert registry.policy("watch").pins == {"flight_delay": 1}
    assert registry.service("flight_delay").definition.views[0].ttl == timedelta(hours=3)
    registry.apply([policy(ttl=None)], who="ada")
    assert registry.service("flight_delay").pins == {"weather": 2, "chill": 2}
    assert registry.service("flight_delay@1").pins == {"weather": 1, "chill": 1}


def test_a_service_is_pinned_to_views_that_only_its_on_demand_views_read(registry: Registry, policy: Build) -> None:
    registry.apply([FeatureService(name="cold", features=policy().service.on_demand_views)], who="ada")
    assert registry.service("cold").pins == {"weather": 1, "chill": 1}


def test_old_versions_stay_readable(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.apply([policy(ttl=None)], who="bob")
    assert registry.feature_view("weather@1").definition.ttl == timedelta(hours=3)
    assert registry.feature_view("weather@2").definition.ttl is None
    assert registry.feature_view("weather").id == "weather@2"


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("wether", 'no object "wether" in project "flights"', 'Did you mean "weather"?'),
        ("weather@7", 'no version 7 of "weather"', "There is: weather@1."),
        ("weather@latest", '"weather@latest" names no registered object', "Write a name, or a name and a version"),
        ("weather@0", '"weather@0" names no registered object', "Write a name"),
        ("", '"" names no registered object', "Write a name"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    registry: Registry, policy: Build, reference: str, message: str, hint: str
) -> None:
    registry.apply([policy()], who="ada")
    with pytest.raises(ObjectNotFoundError, match=message) as caught:
        registry.get(reference)
    assert hint in caught.value.hint


def test_a_typed_reader_refuses_other_kinds(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    with pytest.raises(ObjectNotFoundError, match='"chill" is an on-demand feature view, not a feature view'):
        registry.feature_view("chill")
    with pytest.raises(ObjectNotFoundError, match='"weather" is a feature view, not a feature service'):
        registry.service("weather")
    with pytest.raises(ObjectNotFoundError, match='"airport" is an entity, not a monitor policy'):
        registry.policy("airport@1")
    with pytest.raises(ObjectNotFoundError, match="no feature service") as caught:
        registry.resolve_service("flight_dela")
    assert caught.value.hint == 'Did you mean "flight_delay"?'
    with pytest.raises(ObjectNotFoundError, match='no object "gone"'):
        registry.versions("gone")


def test_a_text_that_no_database_can_hold_is_refused(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    half = policy(description="half a character: \ud83d")
    for tried in (registry.plan, lambda definitions: registry.apply(definitions, who="ada")):
        with pytest.raises(RegistryError, match='The notes of "weather" cannot be kept as JSON'):
            tried([half])
    assert registry.verify_audit() == []


def test_listing_one_kind(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    assert [one.name for one in registry.list("feature_service")] == ["flight_delay"]


def test_projects_do_not_see_each_other(registry: Registry, url: str, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    with open_registry(url, "taxis") as other:
        assert other.list() == []
        assert other.revision() == 0
        other.apply([policy(ttl=None)], who="bob")
        assert other.get("weather").version == 1
        assert other.verify_audit() == []
    assert registry.feature_view("weather").definition.ttl == timedelta(hours=3)
    assert registry.verify_audit() == []
