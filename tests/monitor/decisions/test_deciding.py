"""Decisions: evidence and effect are two keys, and both must turn."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Field
from featurestore.profiles import Baseline, Profile, fit_baseline, profile
from monitor.decisions import Decision, decide
from monitor.detector import DetectorState, Evidence, fit_limits, step

START = datetime(2013, 1, 1, tzinfo=UTC)
ONSET = START + timedelta(days=100)
FIELDS = [
    Field(name="temp", dtype=types.Float64),
    Field(name="wind", dtype=types.Float64),
    Field(name="carrier", dtype=types.String),
]


def table(rng: np.random.Generator, rows: int, **columns: Any) -> pa.Table:
    usual = {
        "temp": rng.normal(40, 5, rows),
        "wind": rng.normal(10, 2, rows),
        "carrier": rng.choice(["AA", "UA"], rows),
    }
    return pa.table(usual | columns)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture
def baseline(rng: np.random.Generator) -> Baseline:
    times = [START + timedelta(days=row // 250) for row in range(10_000)]
    return fit_baseline(table(rng, 10_000, event_timestamp=pa.array(times, pa.timestamp("us", "UTC"))), FIELDS)


def evidence(*, alarm: bool) -> Evidence:
    features = {"temp": 12.0, "wind": -1.0, "carrier": -1.0}
    return Evidence(11.0 if alarm else 1.0, math.log(2160), 40, alarm, features, ONSET)


def decided(baseline: Baseline, rows: pa.Table, *, alarm: bool = True, **arguments: Any) -> Decision:
    return decide(
        baseline,
        profile(rows, baseline.bins),
        evidence(alarm=alarm),
        fit_limits(baseline, smallest_change=0.02),
        **({"effect_threshold": 0.1, "rows_per_block": 250} | arguments),
    )


def test_both_keys_make_a_drift_that_names_what_moved(baseline: Baseline, rng: np.random.Generator) -> None:
    decision = decided(baseline, table(rng, 1000, temp=rng.normal(45, 5, 1000)))
    assert (decision.verdict, decision.onset) == ("drift", ONSET)
    first, *others = decision.findings
    assert (first.feature, first.statistic, first.verdict) == ("temp", "kolmogorov_smirnov", "drift")
    assert first.effect == pytest.approx(0.3829, abs=0.05)  # two normals one sigma apart
    assert 0.1 < first.effect_low < 0.3829 < first.effect_high < 0.6
    assert first.baseline_mean == pytest.approx(40, abs=0.5)
    assert first.current_mean == pytest.approx(45, abs=0.5)
    assert (first.baseline_rows, first.current_rows, first.threshold, first.log_evidence) == (10_000, 1000, 0.1, 12.0)
    assert first.moved[0].startswith("48.")
    assert [one.verdict for one in others] == ["ok", "ok"]


def test_an_effect_without_evidence_is_ok(baseline: Baseline, rng: np.random.Generator) -> None:
    decision = decided(baseline, table(rng, 1000, temp=rng.normal(45, 5, 1000)), alarm=False)
    assert (decision.verdict, decision.onset) == ("ok", None)
    assert decision.findings[0].effect_low > 0.1
    assert {one.verdict for one in decision.findings} == {"ok"}


def test_evidence_of_an_effect_under_the_threshold_is_ok(baseline: Baseline, rng: np.random.Generator) -> None:
    decision = decided(baseline, table(rng, 100_000, temp=rng.normal(40.5, 5, 100_000)))
    assert decision.verdict == "ok"
    assert decision.findings[0].effect_high < 0.1


def test_evidence_of_an_effect_that_is_still_unsure_is_not_enough_data(
    baseline: Baseline, rng: np.random.Generator
) -> None:
    decision = decided(baseline, table(rng, 60, temp=rng.normal(42, 5, 60)))
    assert decision.verdict == "not enough data"
    assert decision.findings[0].effect_low < 0.1 < decision.findings[0].effect_high


def test_it_is_severe_when_most_of_what_could_move_has_moved(baseline: Baseline, rng: np.random.Generator) -> None:
    decision = decided(baseline, table(rng, 1000, temp=rng.normal(70, 5, 1000)))
    assert decision.verdict == "severe"
    assert [one.verdict for one in decision.findings] == ["severe", "ok", "ok"]


def test_no_rows_are_not_enough_data(baseline: Baseline, rng: np.random.Generator) -> None:
    for alarm in (False, True):
        decision = decided(baseline, table(rng, 0), alarm=alarm)
        assert decision.verdict == "not enough data"
        assert {one.verdict for one in decision.findings} == {"not enough data"}


def test_what_moved_most_for_sure_comes_first(baseline: Baseline, rng: np.random.Generator) -> None:
    rows = table(rng, 1000, temp=rng.normal(43, 5, 1000), carrier=rng.choice(["AA", "UA"], 1000, p=[0.95, 0.05]))
    assert [one.feature for one in decided(baseline, rows).findings] == ["carrier", "temp", "wind"]
    nulls = table(rng, 1000, wind=pa.nulls(1000, pa.float64()), carrier=pa.array(["AA"] * 1000))
    first, second, *_ = decided(baseline, nulls).findings
    assert (first.feature, first.statistic, first.effect, first.current_null_rate) == ("wind", "null_rate", 1.0, 1.0)
    assert first.current_mean is None
    assert first.moved[0] == "null: 0.0% -> 100.0%"
    assert (second.feature, second.statistic) == ("carrier", "total_variation")
    assert set(second.moved) == {'"AA": 50.0% -> 100.0%', '"UA": 50.0% -> 0.0%'}


def test_nan_in_place_of_numbers_is_an_effect(baseline: Baseline, rng: np.random.Generator) -> None:
    temp = rng.normal(40, 5, 1000)
    temp[:600] = math.nan
    first = decided(baseline, table(rng, 1000, temp=temp)).findings[0]
    assert (first.feature, first.statistic, first.effect) == ("temp", "nan_rate", 0.6)


def test_a_change_of_nulls_counts_in_either_direction() -> None:
    times = pa.array([START + timedelta(days=row // 50) for row in range(1000)], pa.timestamp("us", "UTC"))
    reference = pa.table({"temp": [None, 1.0] * 500, "event_timestamp": times})
    baseline = fit_baseline(reference, FIELDS[:1])
    first = decided(baseline, pa.table({"temp": [1.0] * 500}), rows_per_block=50).findings[0]
    assert (first.statistic, first.effect, first.verdict) == ("null_rate", 0.5, "drift")
    assert 0.4 < first.effect_low < 0.5 < first.effect_high < 0.6


def test_values_of_personal_fields_do_not_leave(baseline: Baseline, rng: np.random.Generator) -> None:
    rows = table(rng, 1000, temp=rng.normal(55, 5, 1000), carrier=["Alice"] * 1000)
    decision = decided(baseline, rows, pii=frozenset({"temp", "carrier"}))
    for one in decision.findings[:2]:
        assert one.feature in ("temp", "carrier")
        assert one.effect_low > 0.1
        assert (one.moved, one.baseline_mean, one.current_mean) == ((), None, None)
    assert decision.findings[2].baseline_mean is not None


def test_days_that_resemble_themselves_are_worth_less(rng: np.random.Generator) -> None:
    days = np.repeat(rng.normal(40, 5, 40), 250)
    times = pa.array([START + timedelta(days=row // 250) for row in range(10_000)], pa.timestamp("us", "UTC"))
    baseline = fit_baseline(table(rng, 10_000, temp=days, event_timestamp=times), FIELDS)
    rows = table(rng, 500, temp=[46.0] * 500, wind=rng.normal(16, 2, 500))
    found = {one.feature: one for one in decided(baseline, rows).findings}
    assert found["wind"].verdict in ("drift", "severe")
    assert (found["temp"].verdict, found["temp"].effect_high) == ("not enough data", 1.0)
    assert found["temp"].effect > found["wind"].effect - 0.2


VALUES: dict[types.DType, st.SearchStrategy[Any]] = {
    types.Bool: st.booleans(),
    types.Int32: st.sampled_from([-(2**31), 0, 1, 2**31 - 1]),
    types.Int64: st.sampled_from([-(2**63), 0, 2**53 + 1, 2**63 - 1]),
    types.Float32: st.floats(width=32),
    types.Float64: st.floats(),
    types.String: st.text(max_size=1),
    types.Bytes: st.binary(max_size=1),
    types.Date: st.sampled_from([date.min, date(2013, 1, 1), date.max]),
    types.Timestamp: st.sampled_from([datetime(1, 1, 1, tzinfo=UTC), START, datetime(9999, 12, 31, tzinfo=UTC)]),
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(sorted(VALUES, key=repr)), st.sampled_from([1, 40]), st.booleans())
def test_any_data_gets_a_verdict(data: st.DataObject, dtype: types.DType, copies: int, missing: bool) -> None:
    values = st.none() | VALUES[dtype]
    before = data.draw(st.lists(values, min_size=1, max_size=6)) * copies
    after = data.draw(st.lists(values, max_size=6)) * copies
    times = pa.array([START + timedelta(days=row % 9) for row in range(len(before))], pa.timestamp("us", "UTC"))
    baseline = fit_baseline(
        pa.table({"x": pa.array(before, dtype.to_arrow()), "event_timestamp": times}), [Field(name="x", dtype=dtype)]
    )
    limits = fit_limits(baseline, smallest_change=0.02)
    current = profile(pa.table({"y" if missing else "x": pa.array(after, dtype.to_arrow())}), baseline.bins)
    state, seen = DetectorState.start(limits), evidence(alarm=True)
    for _ in range(3):
        state, seen = step(
            limits, state, current, window_start=START, rows_per_block=max(1, len(after)), average_run_length=20
        )
        assert math.isfinite(seen.log_value)
    for judged in (current, Profile.empty(baseline.bins), baseline.whole):
        decision = decide(baseline, judged, seen, limits, effect_threshold=0.1, rows_per_block=max(1, len(after)))
        (finding,) = decision.findings
        assert decision.verdict in ("ok", "not enough data", "drift", "severe")
        assert 0 <= finding.effect_low <= finding.effect <= finding.effect_high <= 1
        for mean in (finding.baseline_mean, finding.current_mean):
            assert mean is None or math.isfinite(mean)
