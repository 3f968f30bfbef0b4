"""A policy's words on retraining: what they may be, and that a registry gives them back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureView, Field, MonitorPolicy, RetrainingPolicy
from featurestore.definitions import content_hash
from featurestore.definitions.retraining import CAUSES
from featurestore.errors import DefinitionError
from featurestore.registry import open_registry
from featurestore.types import Float64

USER = Entity(name="user", join_keys=["user_id"])
VIEW = FeatureView(name="spending", entities=[USER], schema=[Field(name="total", dtype=Float64)])
SERVICE = FeatureService(name="scoring", features=[VIEW])

_LENGTHS = st.timedeltas(timedelta(seconds=1), timedelta(days=3650))
_POLICIES = st.builds(
    RetrainingPolicy,
    causes=st.lists(st.sampled_from([one for one in CAUSES if one != "business_metric"]), unique=True),
    least_importance=st.floats(0, 1),
    max_age=_LENGTHS,
    new_rows=st.integers(1, 10**9),
    new_share=st.floats(0, 10),
    cooldown=_LENGTHS,
    budget=st.integers(1, 100),
    approval=st.booleans(),
    expires_after=_LENGTHS,
    history=st.none() | _LENGTHS,
    entity_rows=st.sampled_from(["", "SELECT 1"]),
    dataset=st.sampled_from(["", "delays"]),
    routes=st.lists(st.sampled_from(["ops", "screen"]), unique=True),
)


def policy(retrain: Any) -> MonitorPolicy:
    return MonitorPolicy(name="watch", service=SERVICE, routes=["ops"], retrain=retrain)


@given(_POLICIES)
def test_it_comes_back_from_its_text(rules: RetrainingPolicy) -> None:
    given = policy(rules)
    again = MonitorPolicy.from_spec(
        json.loads(json.dumps(given.spec())), json.loads(json.dumps(given.notes())), SERVICE
    )
    assert content_hash(again) == content_hash(given)
    assert again.retrain == (rules if rules != RetrainingPolicy() else True)


def test_the_usual_rules_are_what_true_means_so_old_policies_keep_their_hash() -> None:
    assert policy(RetrainingPolicy()).spec() == policy(True).spec()
    assert policy(True).spec()["retrain"] is True
    assert policy(False).spec()["retrain"] is False
    counted = RetrainingPolicy(causes=["business_metric"], metrics={"revenue": 0.05})
    assert RetrainingPolicy.from_spec(counted.spec()) == counted
    assert policy(RetrainingPolicy(approval=True)).spec()["retrain"] == {"approval": True}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"causes": ["drfit"]}, 'the cause "drfit"'),
        ({"causes": "drift"}, "one text as its causes"),
        ({"causes": ["drift", "drift"]}, 'names "drift" twice'),
        ({"least_importance": 1.5}, "least_importance=1.5"),
        ({"budget": 0}, "budget=0"),
        ({"new_rows": True}, "new_rows=True"),
        ({"new_share": -1}, "new_share=-1"),
        ({"causes": ["new_data"], "new_share": 0}, "neither new_rows nor new_share"),
        ({"cooldown": timedelta(seconds=-1)}, "cooldown="),
        ({"max_age": 14}, "max_age=14, which is not a timedelta"),
        ({"expires_after": timedelta(0)}, "expires_after="),
        ({"metrics": {"revenue": 0.05}}, '"business_metric" is not among its causes'),
        ({"causes": ["business_metric"]}, '"business_metric" is among its causes'),
        ({"causes": ["business_metric"], "metrics": {"revenue": 5}}, 'lets "revenue" fall by 5'),
        ({"causes": ["business_metric"], "metrics": ["revenue"]}, "not a dict by name"),
        ({"approval": "yes"}, "approval='yes'"),
        ({"entity_rows": None}, "entity_rows=None"),
        ({"dataset": "a b"}, "a b"),
    ],
)
def test_what_it_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        RetrainingPolicy(**values)


def test_it_names_features_of_the_service_alone() -> None:
    with pytest.raises(DefinitionError, match='names "totl" in its features of retrain'):
        policy(RetrainingPolicy(features=["totl"]))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT user_id, now() AS event_timestamp FROM orders", "whose result changes from run to run"),
        ("SELECT * FROM read_parquet('orders.parquet')", "which is none of its sources"),
        ("DELETE FROM orders", "is not one SELECT"),
    ],
)
def test_a_query_that_no_request_could_repeat_is_refused_when_it_is_applied(
    tmp_path: Any, query: str, message: str
) -> None:
    registry = open_registry(f"sqlite:///{tmp_path}/registry.db", "default")
    try:
        with pytest.raises(DefinitionError, match=message):
            registry.apply([policy(RetrainingPolicy(entity_rows=query))], who="tests")
        registry.apply([policy(RetrainingPolicy(entity_rows="SELECT * FROM orders"))], who="tests")
        assert registry.policy("watch").definition.retrain == RetrainingPolicy(entity_rows="SELECT * FROM orders")
    finally:
        registry.close()
