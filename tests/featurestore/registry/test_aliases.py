"""Aliases: what a bare service name means, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from featurestore.definitions import MonitorPolicy
from featurestore.errors import DefinitionError, ObjectNotFoundError, RegistryError
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
    with pytest.raises(ObjectNotFoundError, match="is flight_delay@1, with no version before that"):
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
    said = [(entry.who, entry.action, entry.object, dict(entry.details)) for entry in moves]
    for _, _, _, details in said:
        details.pop("origin", None)
    assert said == [
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


def test_a_rollback_to_a_named_version_leads_only_where_the_alias_was(three: Registry) -> None:
    for version in (1, 2, 3):
        three.promote(f"flight_delay@{version}", who="ada")
    with pytest.raises(ObjectNotFoundError, match="points to flight_delay@3 already"):
        three.rollback("flight_delay", to=3, who="bob")
    assert three.rollback_target("flight_delay", to=1).id == "flight_delay@1"
    assert three.rollback("flight_delay", to=1, who="bob").version == 1
    three.promote("flight_delay@2", who="ada")
    with pytest.raises(ObjectNotFoundError, match="did not point to flight_delay@3 on its way") as caught:
        three.rollback("flight_delay", to=3, who="bob")
    assert "A rollback leads to: flight_delay@1" in caught.value.hint
    assert three.aliases("flight_delay") == {"production": 2}


def test_an_alias_says_since_when_it_points_there_by_whom_and_where_it_leads_back(three: Registry) -> None:
    three.promote("flight_delay@1", who="ada")
    three.promote("flight_delay@3", who="bob")
    (alias,) = three.alias_records("flight_delay")
    assert (alias.id, alias.alias, alias.before, alias.moved_by) == ("flight_delay@3", "production", (1,), "bob")
    moved = alias.moved_at
    assert moved is not None
    three.rollback("flight_delay", who="cleo")
    (alias,) = three.alias_records()
    assert (alias.id, alias.before, alias.moved_by) == ("flight_delay@1", (), "cleo")
    assert alias.moved_at is not None
    assert alias.moved_at > moved


@pytest.fixture
def canary(three: Registry) -> Registry:
    """Return a registry where flight_delay@1 is production and @3 a canary, which takes the same columns."""
    three.promote("flight_delay@1", who="ada")
    three.promote("flight_delay@3", "canary", share=0.05, who="ada")
    return three


def test_a_canary_has_a_share_that_can_be_moved_and_training_never_sees_it(canary: Registry) -> None:
    assert canary.canaries() == {"flight_delay": (3, 0.05)}
    assert canary.resolve_service("flight_delay").id == "flight_delay@1"
    before = canary.revision()
    canary.promote("flight_delay@3", "canary", share=0.2, who="bob")
    assert canary.canaries() == {"flight_delay": (3, 0.2)}
    canary.promote("flight_delay@3", "canary", who="bob")
    assert canary.canaries() == {"flight_delay": (3, 0.2)}
    assert canary.revision() == before + 1
    (moved,) = canary.audit(action="share")
    assert (moved.who, moved.object) == ("bob", "flight_delay@3")
    assert (moved.details["from_share"], moved.details["to_share"]) == (0.05, 0.2)


def test_a_canary_without_a_share_takes_nothing_yet(three: Registry) -> None:
    three.promote("flight_delay@1", "canary", who="ada")
    assert three.canaries() == {"flight_delay": (1, 0.0)}


def test_production_that_comes_to_the_canary_ends_it(canary: Registry) -> None:
    canary.promote("flight_delay@3", who="ada")
    assert canary.aliases("flight_delay") == {"production": 3}
    assert [(entry.object, entry.details["alias"]) for entry in canary.audit(action="demote")] == [
        ("flight_delay@3", "canary")
    ]
    canary.rollback("flight_delay", who="bob")
    assert canary.canaries() == {}


def test_a_rollback_that_comes_to_the_canary_ends_it(three: Registry) -> None:
    for version in (1, 3):
        three.promote(f"flight_delay@{version}", who="ada")
    three.promote("flight_delay@1", "canary", share=0.5, who="ada")
    three.rollback("flight_delay", who="bob")
    assert three.aliases("flight_delay") == {"production": 1}
    three.promote("flight_delay@3", who="ada")
    assert three.canaries() == {}  # else half of the requests would go back to @1


def test_an_alias_that_is_taken_away_is_gone_audited_and_seen_by_servers(canary: Registry) -> None:
    before = canary.revision()
    assert canary.demote("flight_delay", "canary", who="bob").id == "flight_delay@3"
    assert canary.canaries() == {}
    assert canary.revision() == before + 1
    assert [entry.who for entry in canary.audit(action="demote")] == ["bob"]
    with pytest.raises(ObjectNotFoundError, match='"canary" of service "flight_delay" is not set'):
        canary.demote("flight_delay", "canary", who="bob")
    canary.demote("flight_delay", "production", who="bob")
    assert canary.resolve_service("flight_delay").id == "flight_delay@3"


def test_a_canary_that_could_not_answer_productions_requests_is_refused(three: Registry) -> None:
    three.promote("flight_delay@1", who="ada")
    with pytest.raises(RegistryError, match='it takes no "hour"') as caught:
        three.promote("flight_delay@2", "canary", share=0.05, who="ada")
    assert "flight_delay@2" in caught.value.hint
    three.promote("flight_delay@2", who="ada")
    with pytest.raises(RegistryError, match='it needs "hour" with each request'):
        three.promote("flight_delay@3", "canary", share=0.05, who="ada")
    with pytest.raises(RegistryError, match="answers every request") as caught:
        three.promote("flight_delay@2", "canary", share=0.05, who="ada")
    assert "First promote" in caught.value.hint
    assert three.aliases("flight_delay") == {"production": 2}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True, "5%"])
def test_what_is_no_share_is_refused(three: Registry, share: Any) -> None:
    with pytest.raises(RegistryError, match="is not a share"):
        three.promote("flight_delay@1", "canary", share=share, who="ada")


def test_only_a_canary_has_a_share(three: Registry) -> None:
    with pytest.raises(RegistryError, match='"staging" has no share'):
        three.promote("flight_delay@1", "staging", share=0.5, who="ada")
