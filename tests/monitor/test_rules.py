"""Which incident a finding belongs to."""

from __future__ import annotations

from typing import Any

from monitor.decisions import FeatureFinding
from monitor.pipeline.judging import rules_of


def finding(feature: str, kind: Any, *others: Any) -> FeatureFinding:
    return FeatureFinding(
        feature=feature,
        statistic="kolmogorov_smirnov",
        effect=0.5,
        effect_low=0.4,
        effect_high=0.6,
        threshold=0.1,
        baseline_null_rate=0.0,
        current_null_rate=0.0,
        baseline_mean=None,
        current_mean=None,
        baseline_rows=1,
        current_rows=1,
        log_evidence=None,
        moved=(),
        verdict="drift",
        kind=kind,
        kinds=(kind, *others),
    )


def names(*found: FeatureFinding) -> dict[str, list[str]]:
    return {rule: [one.feature for one in those] for rule, those in rules_of(found).items()}


def test_a_distribution_that_has_moved_beyond_its_range_is_drift_and_one_incident() -> None:
    assert names(
        finding("temp", "out of range", "drift"), finding("wind", "drift"), finding("sky", "unseen categories")
    ) == {"drift": ["temp", "wind", "sky"]}


def test_what_is_beyond_its_range_and_has_not_moved_otherwise_is_what_it_is() -> None:
    assert names(finding("temp", "out of range"), finding("sky", "unseen categories")) == {
        "out of range": ["temp"],
        "unseen categories": ["sky"],
    }


def test_a_null_spike_is_a_fault_of_its_own_beside_drift() -> None:
    assert names(finding("temp", "null spike", "drift"), finding("wind", "drift")) == {
        "null spike": ["temp"],
        "drift": ["wind"],
    }


def test_a_null_spike_that_moves_the_rest_does_not_make_an_odd_range_drift() -> None:
    assert names(finding("temp", "null spike", "drift"), finding("wind", "out of range")) == {
        "null spike": ["temp"],
        "out of range": ["wind"],
    }
