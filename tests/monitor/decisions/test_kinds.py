"""Kinds: what a difference looks like, and which way it went."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.profiles import Baseline, fit_baseline, profile
from monitor.decisions import Decision, FeatureFinding, decide
from monitor.detector import Evidence, fit_limits

START = datetime(2013, 1, 1, tzinfo=UTC)
ONSET = START + timedelta(days=100)
FIELDS = [Field(name="temp", dtype=types.Float64), Field(name="carrier", dtype=types.String)]
ROWS = 2000
CARRIERS = ["AA", "UA", "DL", "WN"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture
def baseline(rng: np.random.Generator) -> Baseline:
    times = pa.array([START + timedelta(days=row // 250) for row in range(10_000)], pa.timestamp("us", "UTC"))
    return fit_baseline(usual(rng, 10_000).append_column("event_timestamp", times), FIELDS)


def usual(rng: np.random.Generator, rows: int = ROWS, **columns: Any) -> pa.Table:
    return pa.table({"temp": rng.normal(40, 5, rows), "carrier": rng.choice(CARRIERS, rows)} | columns)


def decided(baseline: Baseline, rows: pa.Table, **arguments: Any) -> Decision:
    evidence = Evidence(11.0, math.log(2160), 40, True, {"temp": 12.0, "carrier": 0.0}, ONSET)
    return decide(
        baseline,
        profile(rows, baseline.bins),
        evidence,
        fit_limits(baseline, smallest_change=0.02),
        **({"effect_threshold": 0.1, "rows_per_block": 250} | arguments),
    )


def found(decision: Decision, feature: str) -> FeatureFinding:
    return next(one for one in decision.findings if one.feature == feature)


@pytest.mark.parametrize(
    ("shift", "scale", "direction"), [(3, 1, "up"), (-3, 1, "down"), (0, 2, "wider"), (0, 0.4, "narrower")]
)
def test_numbers_drift_in_a_direction(
    baseline: Baseline, rng: np.random.Generator, shift: float, scale: float, direction: str
) -> None:
    one = found(decided(baseline, usual(rng, temp=rng.normal(40 + shift, 5 * scale, ROWS))), "temp")
    assert (one.verdict, one.kind, one.direction, one.onset) == ("drift", "drift", direction, ONSET)
    assert one.moves[0].current != one.moves[0].baseline
    assert one.moved == tuple(str(move) for move in one.moves)
    other = found(decided(baseline, usual(rng)), "carrier")
    assert (other.direction, other.kinds, other.onset) == ("", (), None)


def test_nulls_lead_over_the_little_that_else_has_moved(baseline: Baseline, rng: np.random.Generator) -> None:
    temp = [None if row < 900 else value for row, value in enumerate(rng.normal(43, 5, ROWS))]
    decision = decided(baseline, usual(rng, temp=pa.array(temp, pa.float64())))
    one = found(decision, "temp")
    assert (one.kind, one.kinds, one.statistic) == ("null spike", ("null spike", "drift"), "null_rate")
    assert (one.effect, one.direction, decision.kind) == (0.45, "up", "null spike")
    assert set(one.effects) == {"kolmogorov_smirnov", "null_rate", "nan_rate", "out_of_range_rate"}


def test_a_few_nulls_do_not_hide_that_all_the_rest_moved(baseline: Baseline, rng: np.random.Generator) -> None:
    temp = [None if row < 300 else value for row, value in enumerate(rng.normal(52, 5, ROWS))]
    one = found(decided(baseline, usual(rng, temp=pa.array(temp, pa.float64()))), "temp")
    assert (one.kinds, one.statistic) == (("drift", "null spike"), "kolmogorov_smirnov")


def test_nulls_that_went_away_are_no_spike() -> None:
    times = pa.array([START + timedelta(days=row // 50) for row in range(1000)], pa.timestamp("us", "UTC"))
    reference = pa.table({"temp": [None, 1.0, 2.0, 3.0] * 250, "event_timestamp": times})
    baseline = fit_baseline(reference, FIELDS[:1])
    one = found(decided(baseline, pa.table({"temp": [1.0, 2.0, 3.0] * 300}), rows_per_block=50), "temp")
    assert (one.kind, one.statistic, one.direction, one.verdict) == ("drift", "null_rate", "down", "drift")


def test_another_unit_is_out_of_range(baseline: Baseline, rng: np.random.Generator) -> None:
    one = found(decided(baseline, usual(rng, temp=rng.normal(40, 5, ROWS) * 9 / 5 + 32)), "temp")
    assert (one.kind, one.direction, one.verdict) == ("out of range", "up", "severe")
    assert "drift" in one.kinds


def test_values_nobody_has_seen_are_a_kind_of_their_own(baseline: Baseline, rng: np.random.Generator) -> None:
    one = found(decided(baseline, usual(rng, carrier=rng.choice([*CARRIERS, "XX", "YY"], ROWS))), "carrier")
    assert (one.kind, one.statistic, one.kinds) == ("unseen categories", "unseen_rate", ("unseen categories", "drift"))
    assert one.effect == pytest.approx(1 / 3, abs=0.04)
    many = found(decided(baseline, usual(rng, carrier=[f"new {row}" for row in range(ROWS)])), "carrier")
    assert (many.kind, many.effect, many.verdict) == ("unseen categories", 1.0, "severe")


def test_one_value_where_there_were_many_is_constant(baseline: Baseline, rng: np.random.Generator) -> None:
    decision = decided(baseline, usual(rng, temp=[40.0] * ROWS, carrier=["AA"] * ROWS))
    for name in ("temp", "carrier"):
        one = found(decision, name)
        assert (one.kind, one.verdict) == ("constant", "drift" if name == "temp" else "severe")
    assert found(decided(baseline, usual(rng, carrier=["new"] * ROWS)), "carrier").kind == "unseen categories"


def test_what_was_so_from_the_start_is_a_mismatch(baseline: Baseline, rng: np.random.Generator) -> None:
    decision = decided(baseline, usual(rng, temp=rng.normal(45, 5, ROWS)), launch=True)
    assert (decision.kind, decision.findings[0].kind) == ("launch mismatch", "launch mismatch")
    assert decided(baseline, usual(rng), launch=True).kind is None


def test_the_model_s_output_is_told_apart(baseline: Baseline, rng: np.random.Generator) -> None:
    rows = usual(rng, temp=rng.normal(45, 5, ROWS))
    decision = decided(baseline, rows, predictions=frozenset({"temp"}))
    assert (decision.kind, found(decision, "temp").kind) == ("prediction drift", "prediction drift")


def test_importance_ranks(baseline: Baseline, rng: np.random.Generator) -> None:
    rows = usual(rng, temp=rng.normal(45, 5, ROWS), carrier=rng.choice(CARRIERS, ROWS, p=[0.9, 0.1, 0, 0]))
    assert [one.feature for one in decided(baseline, rows).findings] == ["carrier", "temp"]
    decision = decided(baseline, rows, importances={"temp": 3.0, "carrier": 1.0})
    assert [(one.feature, one.importance) for one in decision.findings] == [("temp", 1.5), ("carrier", 0.5)]
    assert decision.findings[0].rank == 1.5 * decision.findings[0].effect_low
    assert {one.importance for one in decided(baseline, rows, importances={"temp": 3.0}).findings} == {1.0}
    assert {one.importance for one in decided(baseline, rows, importances={"temp": 0.0}).findings} == {1.0}


def test_thresholds_are_set_by_feature_and_by_effect(baseline: Baseline, rng: np.random.Generator) -> None:
    temp = [None if row < 60 else value for row, value in enumerate(rng.normal(40, 5, ROWS))]
    rows = usual(rng, temp=pa.array(temp, pa.float64()))
    assert found(decided(baseline, rows), "temp").verdict == "ok"
    for key in ("temp", "*:null_rate", "temp:null_rate"):
        one = found(decided(baseline, rows, thresholds={key: 0.01}), "temp")
        assert (one.kind, one.threshold, one.verdict) == ("null spike", 0.01, "drift")
    assert found(decided(baseline, rows, thresholds={"temp": 0.01, "*:null_rate": 0.2}), "temp").verdict == "ok"
    assert (
        found(decided(baseline, rows, thresholds={"*:null_rate": 0.2, "temp:null_rate": 0.01}), "temp").verdict
        == "drift"
    )


def test_a_feature_can_be_judged_by_one_effect(baseline: Baseline, rng: np.random.Generator) -> None:
    rows = usual(rng, temp=rng.normal(45, 5, ROWS))
    one = found(decided(baseline, rows, statistics={"temp": "null_rate"}), "temp")
    assert (one.statistic, one.effect, one.verdict) == ("null_rate", 0.0, "ok")
    one = found(decided(baseline, rows, statistics={"temp": "total_variation"}), "temp")
    assert (one.statistic, one.verdict, one.effect_high) == ("total_variation", "not enough data", 1.0)


def test_how_far_numbers_have_gone_may_judge_them(baseline: Baseline, rng: np.random.Generator) -> None:
    chosen: dict[str, Any] = {"statistics": {"temp": "wasserstein"}}
    one = found(decided(baseline, usual(rng, temp=rng.normal(45, 5, ROWS)), **chosen), "temp")
    assert (one.statistic, one.verdict, one.direction) == ("wasserstein", "drift", "up")
    assert one.effect == pytest.approx(1, abs=0.1)  # one standard deviation
    assert one.effect_low > 0.8
    far = found(decided(baseline, usual(rng, temp=rng.normal(65, 5, ROWS)), **chosen), "temp")
    assert (far.verdict, far.effect) == ("severe", pytest.approx(5, abs=0.2))
    assert found(decided(baseline, usual(rng, 0), **chosen), "temp").verdict == "not enough data"


def test_named_features_have_evidence_of_their_own(baseline: Baseline, rng: np.random.Generator) -> None:
    decision = decided(baseline, usual(rng, temp=rng.normal(45, 5, ROWS)))
    assert decision.named == ("temp",)
    assert [(one.feature, one.named) for one in decision.findings] == [("temp", True), ("carrier", False)]


def test_onsets_of_features_count_where_the_detector_has_them(baseline: Baseline, rng: np.random.Generator) -> None:
    earlier = ONSET - timedelta(days=2)
    decision = decided(baseline, usual(rng, temp=rng.normal(45, 5, ROWS)), onsets={"temp": earlier})
    assert (found(decision, "temp").onset, decision.onset) == (earlier, ONSET)


def test_effective_rows_are_what_the_rows_are_worth(baseline: Baseline, rng: np.random.Generator) -> None:
    one = found(decided(baseline, usual(rng)), "temp")
    assert 0.5 * ROWS < one.effective_rows <= ROWS
