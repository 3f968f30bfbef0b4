"""Aliases: what a bare service name means, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from featurestore.definitions import MonitorPolicy
from featurestore.errors import DefinitionError, ObjectNotFoundError
from featurestore.registry import Registry

Build = Callable[..., MonitorPolicy]


@pytest.fixture
def three(registry: Registry, policy: Build) -> Registry:
    """Return a registry with three versions of a service."""
    for description in ("one", "two", "three"):
        service = policy().service
        features = {"one": service.features, "two": service.features[:1], "three": service.features[1:]}[description]
        registry.apply([type(service)(name="flight_delay", features=features)], who="ada", allow_breaking=True)
    return registry


def test_a_bare_name_means_the_newest_until_one_is_promoted(three: Registry) -> None:
    assert three.resolve_service("flight_delay").id == "flight_delay@3"
    assert three.promote("flight_delay@1", who="ada").id == "flight_delay@1"
    assert three.resolve_service("flight_delay").id == "flight_delay@1"
    assert three.resolve_service("flight_delay@2").id == "flight_delay@2"
    assert three.service("flight_delay").id == "flight_delay@3"


def test_another_alias_does_not_change_what_the_bare_name_means(three: Registry) -> None:
    three.promote("flight_delay@1", "canary", who="ada")
    assert three.resolve_service("flight_delay").id == "flight_delay@3"
    three.promote("flight_delay@2", who="ada")
    assert three.aliases("flight_delay") == {"canary": 1, "production": 2}


def test_rollback_goes_back_step_by_step(three: Registry) -> None:
    for version in (1, 2, 3):
        three.promote(f"flight_delay@{version}", who="ada")
    assert three.rollback("flight_delay", who="bob").version == 2
    assert three.rollback("flight_delay", who="bob").version == 1
    with pytest.raises(ObjectNotFoundError, match="only ever been flight_delay@1"):
        three.rollback("flight_delay", who="bob")
    three.promote("flight_delay@3", who="ada")
    assert three.rollback("flight_delay", who="bob").version == 1


def test_a_version_that_is_promoted_twice_is_one_step(three: Registry) -> None:
    three.promote("flight_delay@1", who="ada")
    three.promote("flight_delay@2", who="ada")
    before = three.revision()
    three.promote("flight_delay@2", who="ada")
    assert three.revision() == before
    assert three.rollback("flight_delay", who="ada").version == 1


def test_moves_are_audited_and_seen_by_servers(three: Registry) -> None:
    before = three.revision()
    three.promote("flight_delay@1", who="ada")
    three.promote("flight_delay@2", who="ada")
    three.rollback("flight_delay", who="bob")
    assert three.revision() == before + 3
    moves = [entry for entry in three.audit(object="flight_delay") if entry.action in ("promote", "rollback")]
    assert [(entry.who, entry.action, entry.object, entry.details) for entry in moves] == [
        ("ada", "promote", "flight_delay@1", {"alias": "production", "from_version": None, "to_version": 1}),
        ("ada", "promote", "flight_delay@2", {"alias": "production", "from_version": 1, "to_version": 2}),
        ("bob", "rollback", "flight_delay@1", {"alias": "production", "from_version": 2, "to_version": 1}),
    ]


def test_what_cannot_be_promoted_is_refused(three: Registry) -> None:
    with pytest.raises(ObjectNotFoundError, match="no version 9"):
        three.promote("flight_delay@9", who="ada")
    with pytest.raises(ObjectNotFoundError, match="not a feature service"):
        three.promote("weather", who="ada")
    with pytest.raises(ObjectNotFoundError, match="is not set"):
        three.rollback("flight_delay", who="ada")
    with pytest.raises(DefinitionError, match="cannot name an alias"):
        three.promote("flight_delay", "a b", who="ada")
    assert three.aliases("flight_delay") == {}
    assert three.aliases("unknown") == {}
