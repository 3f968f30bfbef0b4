"""Estimates before outcomes, against what came true; histograms and calibrations that add up."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featurestore.errors import MonitorError
from monitor.performance.estimation import ESTIMATED, estimate_performance
from monitor.performance.histogram import BINS, Calibration, ScoreHistogram, edges, place
from monitor.performance.measuring import measure
from monitor.performance.sample import Sample

Make = Callable[..., Sample]
scores = hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(0, 1))


def test_expected_metrics_are_those_of_the_expected_confusion_matrix() -> None:
    found = estimate_performance(ScoreHistogram.from_scores(np.array([0.9, 0.6, 0.2])))
    values = {name: one.estimate.value for name, one in found.items() if one.estimate is not None}
    # Positive: 0.9 + 0.6 of two, and 0.2 of one that is not taken for one.
    assert values["accuracy"] == pytest.approx((1.5 + 0.8) / 3)
    assert values["precision"] == pytest.approx(1.5 / 2)
    assert values["recall"] == pytest.approx(1.5 / 1.7)
    assert values["f1"] == pytest.approx(2 * 1.5 / 3.7)
    assert values["brier"] == pytest.approx((0.09 + 0.24 + 0.16) / 3)
    won = 0.9 * (0.4 + 0.8 + 0.05) + 0.6 * (0.8 + 0.2) + 0.2 * 0.4
    assert values["roc_auc"] == pytest.approx(won / (1.7 * 1.3))
    assert tuple(found) == ESTIMATED


@pytest.mark.parametrize(("warp", "calibrated"), [(1.0, False), (1.0, True), (2.0, True)])
def test_intervals_cover_what_comes_true_when_inputs_shift(binary: Make, warp: float, calibrated: bool) -> None:
    """150 times: scores of a shifted population; with ``warp`` they are no probabilities until they are calibrated."""
    random = np.random.default_rng(11)

    def draw(rows: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
        likely = 1 / (1 + np.exp(-1.5 * random.normal(shift, 1, rows)))
        return likely**warp, (random.random(rows) < likely) * 1.0

    covered = dict.fromkeys(ESTIMATED, 0)
    for _ in range(150):
        known = Calibration.fit(*draw(5000, 0.0)) if calibrated else None
        given_scores, truth = draw(800, 0.7)
        real = measure(binary(truth, given_scores))
        for name, one in estimate_performance(ScoreHistogram.from_scores(given_scores), known).items():
            assert one.estimate is not None
            now = real[name].estimate
            assert now is not None
            covered[name] += one.estimate.low <= now.value <= one.estimate.high
    assert all(one >= 132 for one in covered.values()), covered


def test_it_sees_inputs_move_and_not_what_they_mean(binary: Make) -> None:
    random = np.random.default_rng(12)
    sure, unsure = random.beta(0.3, 0.3, 4000), random.beta(5, 5, 4000)
    estimates = [estimate_performance(ScoreHistogram.from_scores(one))["accuracy"].estimate for one in (sure, unsure)]
    assert estimates[0] is not None
    assert estimates[1] is not None
    assert estimates[1].high < estimates[0].low
    # The world turned round: the estimate stays where it was.
    turned = measure(binary((random.random(4000) > sure) * 1.0, sure))["accuracy"].estimate
    assert turned is not None
    assert turned.high < estimates[0].low


@given(scores, scores, st.sampled_from([0.5, 0.123, 0.0, 1.0]))
def test_histograms_of_parts_add_up_to_that_of_the_whole(one: np.ndarray, other: np.ndarray, threshold: float) -> None:
    parts = [ScoreHistogram.from_scores(part, threshold=threshold) for part in (one, other)]
    whole = ScoreHistogram.from_scores(np.concatenate([one, other]), threshold=threshold)
    merged = parts[0] + parts[1]
    assert merged.counts.tolist() == whole.counts.tolist()
    assert merged.sums == pytest.approx(whole.sums, abs=1e-12)
    again = ScoreHistogram.from_dict(json.loads(json.dumps(merged.to_dict())))
    assert again.to_dict() == merged.to_dict()
    assert whole.counts[edges(threshold)[:-1] >= threshold].sum() == (
        np.concatenate([one, other]) >= threshold
    ).sum() - ((np.concatenate([one, other]) == 1).sum() if threshold == 1 else 0)


@given(scores)
def test_a_score_lies_in_its_bin(values: np.ndarray) -> None:
    cuts = edges(0.5)
    bins = place(values, 0.5)
    assert len(cuts) == BINS + 1
    assert (cuts[bins] <= values).all()
    assert (values <= cuts[bins + 1]).all()


@given(scores, st.data())
def test_a_calibration_rises_from_0_to_1(values: np.ndarray, data: st.DataObject) -> None:
    truth = data.draw(hnp.arrays(np.float64, len(values), elements=st.sampled_from([0.0, 1.0])))
    made = Calibration.fit(values, truth)
    assert (made + Calibration.fit(values, truth)).positives.sum() == 2 * truth.sum()
    if len(values):
        chances, level, sizes = made.curve()
        assert (np.diff(chances) >= -1e-12).all()
        assert 0 <= chances.min() <= chances.max() <= 1
        assert sizes.sum() == len(values)
        assert level.max() < len(sizes)
    found = estimate_performance(ScoreHistogram.from_scores(np.array([0.1, 0.9])), made)
    for one in found.values():
        if one.estimate is not None:
            assert 0 <= one.estimate.low <= one.estimate.value <= one.estimate.high <= 1


def test_scores_outside_are_counted_and_none_at_all_estimate_nothing() -> None:
    odd = ScoreHistogram.from_scores(np.array([np.nan, -0.1, 1.5, np.inf, 0.5]))
    assert (odd.rows, odd.outside) == (1, 4)
    found = estimate_performance(ScoreHistogram.from_scores(np.array([np.nan])))
    assert {one.reason for one in found.values()} == {"no prediction has a score between 0 and 1"}


def test_constant_scores_and_certain_ones() -> None:
    half = estimate_performance(ScoreHistogram.from_scores(np.full(100, 0.5)))
    assert half["roc_auc"].estimate is not None
    assert half["roc_auc"].estimate.value == 0.5
    sure = estimate_performance(ScoreHistogram.from_scores(np.zeros(100)))
    assert sure["roc_auc"].reason == "all outcomes are expected to be of one class"
    assert sure["precision"].reason == "nothing was predicted positive"
    assert sure["accuracy"].estimate is not None
    assert sure["accuracy"].estimate.low < 1, "a hundred rows do not prove it"


def test_histograms_of_two_thresholds_are_not_added() -> None:
    one, other = (ScoreHistogram.from_scores(np.zeros(1), threshold=at) for at in (0.5, 0.4))
    with pytest.raises(MonitorError, match=r"thresholds 0\.5 and 0\.4 cannot be added"):
        one + other
