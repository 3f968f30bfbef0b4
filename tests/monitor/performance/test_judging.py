"""A window against the model's own baseline: drops whose whole interval matters, and the running risk beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest

from featurestore.errors import MonitorError
from featurestore.statistics.estimate import Estimate
from monitor.performance.joining import Coverage
from monitor.performance.judging import PerformanceRules, confidence_of_drops, find_drop, judge
from monitor.performance.measuring import measure
from monitor.performance.reference import Reference, fit_reference, losses_of
from monitor.performance.sample import Sample
from monitor.performance.scored import Metric
from monitor.performance.windows import PerformanceWindow

Make = Callable[..., Sample]
RULES = PerformanceRules(drops={"accuracy": 0.02})


def draw(binary: Make, rows: int, quality: float, seed: int = 0) -> Sample:
    random = np.random.default_rng(seed)
    logit = random.normal(size=rows)
    return binary((random.random(rows) < 1 / (1 + np.exp(-quality * logit))) * 1.0, 1 / (1 + np.exp(-2 * logit)))


def window(sample: Sample, start: datetime, reference: Reference) -> PerformanceWindow:
    return PerformanceWindow(
        start=start,
        end=start + timedelta(days=1),
        coverage=Coverage(predictions=sample.rows, matured=sample.rows, with_outcome=sample.rows),
        metrics=measure(sample),
        losses=losses_of(sample, reference.risk.unit),
        verdict="ok",
    )


def metric(name: str, value: float, low: float, high: float, rows: float = 1000) -> Metric:
    return Metric(name=name, estimate=Estimate(value, low, high), rows=int(rows), effective_rows=rows)


def test_a_drop_is_one_when_its_whole_interval_lies_over_the_points() -> None:
    baseline = metric("accuracy", 0.9, 0.89, 0.91)
    small = find_drop("accuracy", baseline, metric("accuracy", 0.87, 0.86, 0.88), 0.02)
    assert small.change is not None
    assert small.change.value == pytest.approx(0.03)
    assert small.verdict == "ok", "3 points, but perhaps 1.6"
    clear = find_drop("accuracy", baseline, metric("accuracy", 0.86, 0.85, 0.87), 0.02)
    assert clear.verdict == "drift"
    assert clear.text == "accuracy 0.9 -> 0.86: worse by 0.04 [0.02586, 0.05414], 0.02 matter."
    assert find_drop("accuracy", baseline, metric("accuracy", 0.99, 0.98, 1), 0.02).verdict == "ok"


def test_of_losses_more_is_worse_and_of_the_bias_both_ways_are() -> None:
    assert find_drop("rmse", metric("rmse", 1, 0.9, 1.1), metric("rmse", 2, 1.9, 2.1), 0.5).verdict == "drift"
    assert find_drop("rmse", metric("rmse", 2, 1.9, 2.1), metric("rmse", 1, 0.9, 1.1), 0.5).verdict == "ok"
    for value in (-2, 2):
        now = metric("bias", value, value - 0.1, value + 0.1)
        assert find_drop("bias", metric("bias", 0, -0.1, 0.1), now, 1).verdict == "drift"


def test_too_few_rows_and_nothing_defined_are_not_enough_data() -> None:
    good, none = metric("f1", 0.5, 0.4, 0.6), Metric(name="f1", estimate=None, rows=9, reason="no outcome is positive")
    found = find_drop("f1", good, none, 0.1)
    assert (found.verdict, found.change) == ("not enough data", None)
    assert "the window" in found.text
    assert "no outcome is positive" in found.text
    assert "the baseline" in find_drop("f1", metric("f1", 0.5, 0, 1, rows=12), good, 0.1).text


def test_the_budget_of_drops_sets_the_confidence_of_their_intervals() -> None:
    assert confidence_of_drops(2160, 1) == pytest.approx(1 - 2 / 2160)
    assert confidence_of_drops(2160, 4) > confidence_of_drops(2160, 1)


def test_drops_at_the_very_points_page_no_more_often_than_their_budget(binary: Make) -> None:
    """At an accuracy that is worse by just what matters, in 150 windows, with 40 between false pages."""
    random = np.random.default_rng(9)

    def of(accuracy: float, rows: int) -> Metric:
        right = (random.random(rows) < accuracy) * 1.0
        return measure(binary(right, np.ones(rows)))["accuracy"].at(confidence_of_drops(40))

    pages = sum(find_drop("accuracy", of(0.9, 20_000), of(0.88, 500), 0.02).verdict == "drift" for _ in range(150))
    assert pages <= 2 * 150 / 40
    quiet = sum(find_drop("accuracy", of(0.9, 20_000), of(0.9, 500), 0.02).verdict == "drift" for _ in range(150))
    assert quiet <= 1


def test_both_together_are_severe_and_one_is_drift(binary: Make, start: datetime) -> None:
    reference = fit_reference(draw(binary, 5000, 3.0))
    worse = window(draw(binary, 3000, 1.0, 1), start, reference)
    _, both = judge(reference, worse, None, RULES, average_run_length=100)
    assert both.verdict == "severe"
    assert len(both.reasons) == 2
    assert both.reasons[1].startswith("The running risk is ")
    state, dropped = judge(reference, worse, None, RULES)
    assert (state, dropped.verdict, dropped.risk) == (None, "drift", None)
    _, risky = judge(reference, worse, None, PerformanceRules(), false_alarm_probability=0.01)
    assert (risky.verdict, risky.drops) == ("drift", ())


def test_a_model_that_does_what_it_did_is_ok_over_many_windows(binary: Make, start: datetime) -> None:
    reference = fit_reference(draw(binary, 5000, 2.0))
    state = None
    for day in range(50):
        one = window(draw(binary, 400, 2.0, day + 1), start + timedelta(days=day), reference)
        confidence = confidence_of_drops(2160)
        state, found = judge(reference, one, state, RULES, average_run_length=2160, confidence=confidence)
        assert found.verdict == "ok"
    assert state is not None
    assert state.windows == 50


def test_windows_without_outcomes_are_not_enough_data(binary: Make, start: datetime) -> None:
    reference = fit_reference(draw(binary, 500, 2.0))
    empty = window(binary([], []), start, reference)
    for rules in (RULES, PerformanceRules()):
        state, found = judge(reference, empty, None, rules, average_run_length=100)
        assert found.verdict == "not enough data"
        assert found.reasons
        assert state is not None
        assert state.windows == 0
    _, few = judge(reference, window(draw(binary, 5, 2.0), start, reference), None, RULES, average_run_length=100)
    assert few.verdict == "not enough data"


def test_a_metric_of_another_task_is_said_not_to_be_one(binary: Make, start: datetime) -> None:
    reference = fit_reference(draw(binary, 500, 2.0))
    _, found = judge(
        reference, window(draw(binary, 500, 2.0), start, reference), None, PerformanceRules(drops={"rmse": 1})
    )
    assert found.drops[0].text == "rmse is no metric of a binary model."


def test_a_state_of_another_reference_begins_anew(binary: Make, start: datetime) -> None:
    one, other = (fit_reference(draw(binary, 500, 2.0, seed)) for seed in (1, 2))
    state, _ = judge(one, window(draw(binary, 300, 2.0), start, one), None, RULES, average_run_length=1e9)
    again, _ = judge(other, window(draw(binary, 300, 2.0), start, other), state, RULES, average_run_length=1e9)
    assert state is not None
    assert again is not None
    assert (state.windows, again.windows) == (1, 1)
    assert state.limit_id != again.limit_id


def test_rules_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(MonitorError, match='no metric "acuracy"') as caught:
        PerformanceRules(drops={"acuracy": 0.02})
    assert caught.value.hint == 'Did you mean "accuracy"?'
    for points in (0, -1, float("nan")):
        with pytest.raises(MonitorError, match="always there"):
            PerformanceRules(drops={"accuracy": points})


def test_a_reference_survives_the_trip_through_json(binary: Make, numbers: Make) -> None:
    days = np.arange(500) // 50
    for sample in (draw(binary, 500, 2.0), numbers(np.arange(500.0), np.arange(500.0) + np.sin(np.arange(500)))):
        made = fit_reference(sample, days)
        again = Reference.from_dict(json.loads(json.dumps(made.to_dict())))
        assert again.to_dict() == made.to_dict()
        assert again.risk.id == made.risk.id
        assert (again.blocks, again.rho) == (10, made.rho)


def test_a_regressions_losses_are_parts_of_the_largest_error_that_counts(numbers: Make) -> None:
    errors = np.arange(101.0)
    reference = fit_reference(numbers(np.zeros(101), errors))
    assert reference.risk.unit == 99
    assert losses_of(numbers([0, 0], [49.5, 500]), reference.risk.unit).tolist() == [0.5, 1.0]
    perfect = fit_reference(numbers([1.0, 2.0], [1.0, 2.0]))
    assert losses_of(numbers([1.0, 2.0], [1.0, 2.1]), perfect.risk.unit).tolist() == [0, 1]


def test_nothing_is_no_reference(binary: Make) -> None:
    with pytest.raises(MonitorError, match="nothing to compare with"):
        fit_reference(binary([], []))
