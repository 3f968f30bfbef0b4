"""What asks for a new model, and what is a fault."""

from __future__ import annotations

from typing import get_args

import pytest

from featurestore.definitions import RetrainingPolicy
from monitor.decisions import Kind
from monitor.quality.finding import Rule
from monitor.retraining.causes import cause_of, important, is_fault, signal_id


@pytest.mark.parametrize(
    ("rule", "kinds", "cause", "fault"),
    [
        ("drift", (), "drift", False),
        ("performance of churn@3", (), "performance", False),
        ("prediction drift", (), "", False),
        ("launch mismatch", (), "", False),
        ("null spike", (), "", True),
        ("unseen categories", (), "", True),
        ("training_serving_skew", (), "", True),
        ("materialization_lag", (), "", False),
        ("stale_training_data", ("dataset",), "", False),
        ("configuration_drift", ("model",), "configuration_drift", False),
        ("configuration_drift", ("server",), "", True),
        ("configuration_drift", ("model", "server"), "", True),
        ("a rule that is still to be written", (), "", True),
    ],
)
def test_the_world_changes_models_age_and_everything_else_is_broken(
    rule: str, kinds: tuple[str, ...], cause: str, fault: bool
) -> None:
    assert (cause_of(rule, kinds), is_fault(rule, kinds)) == (cause, fault)


def test_no_rule_is_a_cause_and_a_fault() -> None:
    for rule in (*get_args(Kind), *get_args(Rule)):
        for kinds in ((), ("model",), ("server",)):
            assert not (cause_of(rule, kinds) and is_fault(rule, kinds))


def test_the_same_cause_has_the_same_id_and_another_baseline_or_attempt_is_another_cause() -> None:
    first = signal_id("default", "flight_delay@1", "delays@1", "i")
    assert first == signal_id("default", "flight_delay@1", "delays@1", "i", 1)
    others = {
        signal_id("other", "flight_delay@1", "delays@1", "i"),
        signal_id("default", "flight_delay@2", "delays@1", "i"),
        signal_id("default", "flight_delay@1", "delays@2", "i"),
        signal_id("default", "flight_delay@1", "delays@1", "k"),
        signal_id("default", "flight_delay@1", "delays@1", "i", 2),
    }
    assert len(others | {first}) == 6


def test_drift_of_what_matters_little_is_no_cause() -> None:
    importances = {"temp": 9.0, "wind": 1.0, "noise": -1.0}
    rules = RetrainingPolicy(least_importance=0.2)
    assert important(["temp", "wind", "noise"], rules, importances) == (["temp"], ["wind", "noise"])
    assert important(["wind"], RetrainingPolicy(features=["temp"]), {}) == ([], ["wind"])
    # Of a model that has none recorded each feature counts; numbers of a vector count as the vector.
    assert important(["vector.norm"], rules, {}) == (["vector.norm"], [])
    assert important(["vector.norm"], RetrainingPolicy(features=["vector"]), importances) == (["vector.norm"], [])
