"""The bound on the running risk: its arithmetic by hand, its budget and its delay by simulation, its memory."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featurestore.errors import MonitorError
from monitor.performance.risk import ALTERNATIVES, RiskEvidence, RiskLimit, RiskState, fit_risk_limit, step_risk

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIMIT = RiskLimit(loss="error", unit=1, source=0.1, upper=0.1, tolerance=0.0, rows=1000, blocks=0, rho=0.0)


def walk(
    limit: RiskLimit, windows: list[np.ndarray], *, stop: bool = True, rows_per_block: float = 0, **budget: float
) -> list[RiskEvidence]:
    state, found = RiskState.start(limit), []
    for number, losses in enumerate(windows):
        state, one = step_risk(
            limit, state, losses, window_start=START + number * HOUR, rows_per_block=rows_per_block, **budget
        )
        found.append(one)
        if stop and one.alarm:
            break
    return found


def test_the_capital_is_the_mean_of_likelihood_ratios_for_losses_of_0_and_1() -> None:
    losses = np.array([1.0, 0.0, 0.0, 1.0])
    (found,) = walk(LIMIT, [losses], false_alarm_probability=0.01)
    odds = [0.1 / 0.9 * math.exp(one) for one in ALTERNATIVES]
    ratios = [((o / (1 + o)) / 0.1) ** 2 * ((1 / (1 + o)) / 0.9) ** 2 for o in odds]
    assert found.log_value == pytest.approx(math.log(sum(ratios) / len(ratios)))
    assert (found.risk, found.rows, found.windows) == (0.5, 4, 1)
    assert found.log_limit == pytest.approx(math.log(100))


def test_the_two_budgets_agree_on_one_window_and_not_on_two() -> None:
    windows = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    wealth = walk(LIMIT, windows, false_alarm_probability=0.001)
    detector = walk(LIMIT, windows, average_run_length=1000)
    assert wealth[0].log_value == detector[0].log_value
    # The detector also counts a gambler who entered before the second window.
    assert detector[1].log_value > wealth[1].log_value


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.floats(0.01, 0.95))
def test_no_bet_loses_everything_and_none_grows_when_losses_are_at_their_limit(losses: np.ndarray, at: float) -> None:
    limit = RiskLimit(loss="error", unit=1, source=at, upper=at, tolerance=0, rows=10, blocks=0, rho=0.0)
    (found,) = walk(limit, [losses], false_alarm_probability=1e-9)
    assert math.isfinite(found.log_value)
    (same,) = walk(limit, [np.full(5, at)], false_alarm_probability=1e-9)
    assert same.log_value == pytest.approx(0, abs=1e-9)


def test_false_alarms_stay_within_either_budget() -> None:
    """At the very limit: of 150 streams of 60 windows at most delta alarm, and between alarms are A windows."""
    random = np.random.default_rng(1)
    alarms, between = 0, 0
    for _ in range(150):
        windows = [(random.random(40) < 0.1) * 1.0 for _ in range(60)]
        alarms += walk(LIMIT, windows, false_alarm_probability=0.05)[-1].alarm
        between += sum(one.alarm for one in walk(LIMIT, windows, stop=False, average_run_length=200))
    assert alarms <= 0.05 * 150
    assert between <= 150 * 60 / 200


def test_losses_between_0_and_1_keep_the_budget_too() -> None:
    random = np.random.default_rng(2)
    limit = RiskLimit(loss="absolute error", unit=3, source=0.2, upper=0.2, tolerance=0, rows=10, blocks=0, rho=0.0)
    alarms = 0
    for _ in range(100):
        windows = [random.beta(0.5, 2, 40) for _ in range(60)]  # the mean is 0.2
        alarms += walk(limit, windows, false_alarm_probability=0.1)[-1].alarm
    assert alarms <= 0.1 * 100


def test_a_higher_risk_alarms_soon_and_the_onset_is_about_right() -> None:
    random = np.random.default_rng(3)
    limit = fit_risk_limit((random.random(5000) < 0.1) * 1.0, tolerance=0.02)
    assert limit.source < limit.upper < limit.source + 0.02
    windows = [(random.random(200) < 0.1) * 1.0 for _ in range(50)] + [(random.random(200) < 0.2) * 1.0] * 20
    found = walk(limit, windows, average_run_length=2160)
    assert found[-1].alarm
    assert 50 < len(found) <= 56
    assert found[-1].onset is not None
    assert abs(found[-1].onset - (START + 50 * HOUR)) <= 2 * HOUR


def test_within_the_tolerance_nothing_alarms_however_many_rows_come() -> None:
    random = np.random.default_rng(4)
    limit = fit_risk_limit((random.random(20_000) < 0.1) * 1.0, tolerance=0.03)
    windows = [(random.random(5000) < 0.12) * 1.0 for _ in range(200)]
    assert not walk(limit, windows, average_run_length=2160)[-1].alarm


def test_days_that_differ_are_no_evidence_but_rows_taken_for_independent_would_be() -> None:
    random = np.random.default_rng(5)

    def day(rows: int) -> np.ndarray:
        return (random.random(rows) < np.clip(0.1 + random.normal(0, 0.04), 0, 1)) * 1.0

    naive = fair = 0
    for _ in range(20):
        source = [day(300) for _ in range(60)]
        losses, days = np.concatenate(source), np.repeat(np.arange(60), 300)
        windows = [day(3000) for _ in range(90)]
        limits = fit_risk_limit(losses, days), fit_risk_limit(losses)
        assert limits[0].upper > limits[1].upper
        fair += walk(limits[0], windows, rows_per_block=3000, average_run_length=2160)[-1].alarm
        naive += walk(limits[1], windows, rows_per_block=3000, average_run_length=2160)[-1].alarm
    assert fair == 0
    assert naive > 15


def test_one_odd_day_does_not_alarm_by_itself() -> None:
    random = np.random.default_rng(6)
    limit = fit_risk_limit((random.random(6000) < 0.1) * 1.0, np.repeat(np.arange(20), 300))
    found = walk(limit, [np.ones(300)], rows_per_block=300, average_run_length=2160)
    assert found[0].log_value <= math.log(21) + 1e-9
    assert not found[0].alarm


def test_the_state_goes_on_after_a_restart_bit_for_bit() -> None:
    random = np.random.default_rng(7)
    windows = [random.random(50) for _ in range(6)]
    state = again = RiskState.start(LIMIT)
    for number, losses in enumerate(windows):
        at = START + number * HOUR
        state, one = step_risk(LIMIT, state, losses, window_start=at, average_run_length=1e300)
        restarted = RiskState.from_dict(json.loads(json.dumps(again.to_dict())))
        again, other = step_risk(LIMIT, restarted, losses, window_start=at, average_run_length=1e300)
        assert (state, one) == (again, other)


def test_after_an_alarm_the_state_is_a_fresh_one() -> None:
    state, found = step_risk(LIMIT, RiskState.start(LIMIT), np.ones(100), window_start=START, average_run_length=100)
    assert found.alarm
    assert state == RiskState.start(LIMIT)


def test_a_window_without_rows_adds_nothing_and_a_limit_of_1_cannot_be_exceeded() -> None:
    (found,) = walk(LIMIT, [np.zeros(0)], average_run_length=100)
    assert (found.windows, found.log_value, found.alarm) == (0, 0.0, False)
    always = fit_risk_limit(np.ones(10))
    assert always.limit == 1
    assert not walk(always, [np.ones(1000)], average_run_length=100)[0].alarm


def test_the_upper_bound_is_clopper_and_pearsons_where_losses_are_0_or_1() -> None:
    # None of 10: 1 - 0.05^(1/10).
    assert fit_risk_limit(np.zeros(10)).upper == pytest.approx(1 - 0.05**0.1)
    assert fit_risk_limit(np.full(5, 0.5)).upper <= 1


@given(hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1)))
def test_the_upper_bound_lies_over_the_mean(losses: np.ndarray) -> None:
    found = fit_risk_limit(losses)
    assert found.source - 1e-12 <= found.upper <= 1


def test_the_upper_bound_holds_as_often_as_it_says() -> None:
    random = np.random.default_rng(8)
    held = sum(fit_risk_limit(random.beta(0.5, 2, 200)).upper >= 0.2 for _ in range(300))
    assert held >= 285


def test_mistakes_of_a_caller_are_told() -> None:
    start = RiskState.start(LIMIT)
    with pytest.raises(MonitorError, match="two budgets or none"):
        step_risk(LIMIT, start, np.zeros(1), window_start=START)
    with pytest.raises(MonitorError, match="between 0 and 1"):
        step_risk(LIMIT, start, np.array([math.nan]), window_start=START, average_run_length=9)
    with pytest.raises(MonitorError, match="not of one reference"):
        step_risk(fit_risk_limit(np.zeros(9)), start, np.zeros(1), window_start=START, average_run_length=9)
