"""Promotions that need approval: who may approve, who may not, and that nothing moves before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.definitions import MonitorPolicy, PromotionPolicy
from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.registry import Registry, signing

Build = Callable[..., MonitorPolicy]


@pytest.fixture
def guarded(registry: Registry, policy: Build) -> Registry:
    """Return a registry with two versions of a service, by ada, that one other has to approve; five are known."""
    service = policy().service
    registry.apply([service, PromotionPolicy(name="two_people", service=service)], who="ada")
    registry.apply([replace(service, features=service.features[1:])], who="ada", allow_breaking=True)
    known = ["ada", "bob", "cleo", "dora", "eve"]
    for name in known:
        public = signing.PrivateKey(signing.generate(), "The key").public
        registry.add_identity(name, public, who="ada" if name != "ada" else "root@host (unverified)")
    return registry


def test_a_promotion_waits_until_another_approves_it(guarded: Registry) -> None:
    with pytest.raises(RegistryError, match="only when a promotion is approved"):
        guarded.promote("flight_delay@2", who="bob")
    asked = guarded.request_promotion("flight_delay@2", who="bob")
    assert asked is not None
    assert (asked.number, asked.state, asked.id, asked.alias) == (1, "pending", "flight_delay@2", "production")
    assert guarded.aliases("flight_delay") == {}
    before = guarded.revision()
    done = guarded.approve(1, who="cleo")
    assert (done.state, done.decided_by) == ("approved", ("cleo",))
    assert done.decided_at is not None
    assert guarded.aliases("flight_delay") == {"production": 2}
    assert guarded.revision() == before + 1
    told = [(entry.action, entry.who, entry.object) for entry in guarded.audit(object="flight_delay")]
    assert told[-3:] == [
        ("request", "bob", "flight_delay@2"),
        ("approve", "cleo", "flight_delay@2"),
        ("promote", "cleo", "flight_delay@2"),
    ]


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("bob", "they asked for it"),
        ("ada", "the version is theirs"),
        ("cleo@laptop (unverified)", "not been verified"),
        ("nobody", "not been verified"),
    ],
)
def test_nobody_approves_their_own_work_or_without_proof(guarded: Registry, who: str, reason: str) -> None:
    guarded.request_promotion("flight_delay@2", who="bob")
    with pytest.raises(RegistryError, match=reason) as caught:
        guarded.approve(1, who=who)
    assert caught.value.hint
    assert guarded.aliases("flight_delay") == {}
    assert guarded.promotion(1).state == "pending"


def test_somebody_who_asked_without_a_key_does_not_approve_with_it(guarded: Registry) -> None:
    guarded.request_promotion("flight_delay@2", who="cleo@laptop (unverified)")
    with pytest.raises(RegistryError, match="they asked for it"):
        guarded.approve(1, who="cleo")
    assert guarded.approve(1, who="dora").state == "approved"


def test_somebody_whose_identity_was_revoked_approves_nothing(guarded: Registry) -> None:
    guarded.request_promotion("flight_delay@2", who="bob")
    guarded.revoke_identity("cleo", who="ada")
    with pytest.raises(RegistryError, match="not been verified"):
        guarded.approve(1, who="cleo")


def test_an_approval_by_an_identity_that_was_revoked_since_does_not_count(guarded: Registry, policy: Build) -> None:
    guarded.apply([PromotionPolicy(name="two_people", service=policy().service, approvals=2)], who="ada")
    guarded.request_promotion("flight_delay@2", who="bob")
    guarded.approve(1, who="cleo")
    guarded.revoke_identity("cleo", who="ada")
    assert guarded.approve(1, who="dora").state == "pending"
    assert guarded.aliases("flight_delay") == {}
    assert guarded.approve(1, who="eve").decided_by == ("cleo", "dora", "eve")
    assert guarded.aliases("flight_delay") == {"production": 2}


@pytest.mark.parametrize("who", ["Cleo@laptop (unverified)", "CLEO"])
def test_a_name_in_other_letters_is_the_same_person(guarded: Registry, who: str) -> None:
    guarded.request_promotion("flight_delay@2", who=who)
    with pytest.raises(RegistryError, match="they asked for it"):
        guarded.approve(1, who="cleo")


def test_the_author_of_a_version_that_came_from_another_registry_does_not_approve_it(guarded: Registry) -> None:
    guarded.record_transfer("flight_delay@2", {"authors": ["dora"]}, who="eve")
    guarded.request_promotion("flight_delay@2", who="bob")
    with pytest.raises(RegistryError, match="the version is theirs"):
        guarded.approve(1, who="dora")
    assert guarded.authors("flight_delay@2") == ("ada", "dora")


def test_asking_twice_is_asking_once(guarded: Registry) -> None:
    first = guarded.request_promotion("flight_delay@2", who="bob")
    assert guarded.request_promotion("flight_delay@2", who="cleo") == first
    other = guarded.request_promotion("flight_delay@1", who="bob")
    assert other is not None
    assert other.number == 2
    assert len(guarded.audit(action="request")) == 2


def test_what_was_decided_stays_decided(guarded: Registry) -> None:
    guarded.request_promotion("flight_delay@2", who="bob")
    assert guarded.reject(1, who="cleo").state == "rejected"
    for decide in (guarded.approve, guarded.reject):
        with pytest.raises(RegistryError, match="rejected by cleo") as caught:
            decide(1, who="dora")
        assert "Ask again" in caught.value.hint
    with pytest.raises(ObjectNotFoundError, match="no promotion 7"):
        guarded.approve(7, who="dora")
    again = guarded.request_promotion("flight_delay@2", who="bob")
    assert again is not None
    assert again.number == 2
    assert [one.state for one in guarded.promotions("flight_delay")] == ["rejected", "pending"]


def test_a_rollback_needs_no_approval_and_leads_only_to_what_was_approved(guarded: Registry) -> None:
    for number, version in ((1, 1), (2, 2)):
        guarded.request_promotion(f"flight_delay@{version}", who="bob")
        guarded.approve(number, who="cleo")
    assert guarded.rollback("flight_delay", who="night@host (unverified)").version == 1
    with pytest.raises(ObjectNotFoundError):
        guarded.rollback("flight_delay", to=2, who="night@host (unverified)")
    with pytest.raises(RegistryError, match="cannot be taken away"):
        guarded.demote("flight_delay", "production", who="night@host (unverified)")


def test_other_aliases_and_other_services_move_at_once(guarded: Registry, policy: Build) -> None:
    assert guarded.request_promotion("flight_delay@2", "staging", who="bob") is None
    guarded.promote("flight_delay@2", "staging", who="bob")
    guarded.apply([replace(policy().service, name="other")], who="ada")
    guarded.promote("other", who="ada")
    assert guarded.aliases("other") == {"production": 1}


def test_a_canary_may_need_approval_for_more_and_never_for_less(guarded: Registry, policy: Build) -> None:
    service = policy().service
    guarded.apply([PromotionPolicy(name="two_people", service=service, aliases=["canary"])], who="ada")
    guarded.promote("flight_delay@1", who="bob")
    guarded.request_promotion("flight_delay@2", "canary", share=0.05, who="bob")
    guarded.approve(1, who="cleo")
    assert guarded.canaries() == {"flight_delay": (2, 0.05)}
    with pytest.raises(RegistryError, match="approved"):
        guarded.promote("flight_delay@2", "canary", share=0.1, who="bob")
    guarded.promote("flight_delay@2", "canary", share=0.01, who="bob")
    guarded.demote("flight_delay", "canary", who="bob")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4), st.lists(st.sampled_from(["ada", "bob", "cleo", "dora", "eve"]), max_size=8))
def test_an_alias_moves_when_enough_different_people_have_approved(
    guarded: Registry, policy: Build, needed: int, voters: list[Any]
) -> None:
    rule = PromotionPolicy(name="two_people", service=policy().service, aliases=["prod"], approvals=needed)
    guarded.apply([rule], who="ada")
    asked = guarded.request_promotion("flight_delay@2", "prod", who="bob")
    assert asked is not None
    good: set[str] = set()
    for who in voters:
        allowed = who not in ("ada", "bob") and who not in good and len(good) < needed
        if allowed:
            guarded.approve(asked.number, who=who)
            good.add(who)
        else:
            with pytest.raises(RegistryError):
                guarded.approve(asked.number, who=who)
        assert ("prod" in guarded.aliases("flight_delay")) is (len(good) >= needed)
    if guarded.promotion(asked.number).state == "pending":
        guarded.reject(asked.number, who="bob")
    else:
        guarded.demote("flight_delay", "prod", who="bob")
