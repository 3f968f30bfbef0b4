"""A promotion policy: what it takes, and what of it makes a new version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.definitions import Entity, FeatureService, FeatureView, Field, PromotionPolicy, content_hash, kind_of
from featurestore.errors import DefinitionError
from featurestore.types import Float64

VIEW = FeatureView(name="weather", entities=[Entity(name="airport")], schema=[Field(name="temp", dtype=Float64)])
SERVICE = FeatureService(name="flight_delay", features=[VIEW])
POLICY = PromotionPolicy(name="two_people", service=SERVICE)


def test_a_hash_is_what_it_was_in_the_first_release() -> None:
    assert content_hash(POLICY) == "83ae3823da058596f7c1c65ab8407183c28f28f545453341f360ab0dff06cfce"
    assert kind_of(POLICY) == "promotion_policy"


def test_the_service_counts_by_name_and_notes_do_not_count() -> None:
    changed = replace(SERVICE, features=[replace(VIEW, ttl=None, schema=[Field(name="wind", dtype=Float64)])])
    assert content_hash(replace(POLICY, service=changed, description="night", tags={"a": "b"})) == content_hash(POLICY)
    assert content_hash(replace(POLICY, approvals=2)) != content_hash(POLICY)
    assert content_hash(replace(POLICY, aliases=["production", "canary"])) != content_hash(POLICY)


def test_it_comes_back_from_its_spec() -> None:
    policy = replace(POLICY, approvals=2, aliases=["production", "canary"], owner="ada", tags={"a": "b"})
    assert PromotionPolicy.from_spec(policy.spec(), policy.notes(), SERVICE) == policy


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "two people"}, "cannot name a promotion policy"),
        ({"service": "flight_delay"}, "is not a FeatureService"),
        ({"aliases": []}, "guards no alias"),
        ({"aliases": "production"}, "not a list"),
        ({"aliases": ["pro duction"]}, "cannot name an alias"),
        ({"aliases": ["canary", "canary"]}, "twice"),
        ({"approvals": 0}, "approvals=0"),
        ({"approvals": True}, "approvals=True"),
        ({"approvals": 1.5}, "approvals=1.5"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says) as caught:
        PromotionPolicy(**{"name": "two_people", "service": SERVICE} | wrong)
    assert caught.value.hint
