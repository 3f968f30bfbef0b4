"""Metrics of classes: by hand, by brute force over pairs, and what is not defined."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitor.performance.classification import CALIBRATION_BINS, area, classification
from monitor.performance.measuring import CLASSIFICATION, measure, scores_of
from monitor.performance.sample import Sample
from monitor.performance.scored import Metric, Scored

Make = Callable[..., Sample]
TRUTH = [1, 1, 1, 0, 0, 0, 0, 1]
SCORES = [0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1, 0.5]


def values(sample: Sample) -> dict[str, float]:
    return {name: one.value for name, one in scores_of(sample).items() if isinstance(one, Scored)}


def test_values_are_those_of_the_definitions(binary: Make) -> None:
    found = values(binary(TRUTH, SCORES))
    # Of four predicted positive three are; of four positives three were found.
    assert (found["accuracy"], found["precision"], found["recall"], found["f1"]) == (0.75, 0.75, 0.75, 0.75)
    pairs = [(p > n) + (p == n) / 2 for p in (0.9, 0.8, 0.4, 0.5) for n in (0.7, 0.3, 0.2, 0.1)]
    assert found["roc_auc"] == pytest.approx(sum(pairs) / 16)
    likely = [s if t else 1 - s for t, s in zip(TRUTH, SCORES, strict=True)]
    assert found["log_loss"] == pytest.approx(-sum(map(math.log, likely)) / 8)
    assert found["brier"] == pytest.approx(sum((1 - p) ** 2 for p in likely) / 8)


binaries = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])),
        hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])),
    )
)


@given(binaries)
def test_the_area_is_how_often_a_positive_has_the_higher_score(rows: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = rows
    found = area(truth, scores)
    positive, negative = scores[truth == 1], scores[truth == 0]
    if not len(positive) or not len(negative):
        assert found == "all outcomes are of one class"
        return
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    assert isinstance(found, Scored)
    assert found.value == pytest.approx(wins.mean())
    # DeLong's variance, by its definition.
    if len(positive) > 1 and len(negative) > 1:
        expected = wins.mean(axis=1).var() / len(positive) + wins.mean(axis=0).var() / len(negative)
        assert np.mean(found.influence**2) / len(truth) == pytest.approx(expected, abs=1e-12)


@given(binaries)
def test_influences_add_to_nothing_and_tell_what_a_row_more_would_do(rows: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = rows
    sample = Sample(
        task="binary", truth=truth, predicted=(scores >= 0.5) * 1.0, scores=scores, places=np.arange(len(truth))
    )
    for name, one in scores_of(sample).items():
        if isinstance(one, Scored) and name != "calibration_error":
            assert one.influence.mean() == pytest.approx(0, abs=1e-9), name


@pytest.mark.parametrize("name", [one for one in CLASSIFICATION if one != "calibration_error"])
def test_an_influence_is_the_slope_of_the_metric_in_the_weight_of_a_row(binary: Make, name: str) -> None:
    random = np.random.default_rng(3)
    scores = random.random(60)
    truth = (random.random(60) < scores) * 1.0
    one = scores_of(binary(truth, scores))[name]
    assert isinstance(one, Scored)
    # A row written down again many times in a large sample, against the same sample without.
    times, row = 2000, 7
    base = binary(np.tile(truth, times), np.tile(scores, times))
    more = binary(np.append(base.truth, truth[row]), np.append(base.scores, scores[row]))
    slope = (values(more)[name] - values(base)[name]) * len(base.truth)
    assert slope == pytest.approx(one.influence[row], rel=1e-2, abs=1e-4)


def test_calibrated_scores_have_an_error_that_chance_explains_and_others_have_one_that_it_does_not(
    binary: Make,
) -> None:
    random = np.random.default_rng(4)
    scores = random.random(5000)
    good = measure(binary((random.random(5000) < scores) * 1.0, scores))["calibration_error"].estimate
    bad = measure(binary((random.random(5000) < scores**2) * 1.0, scores))["calibration_error"].estimate
    assert good is not None
    assert bad is not None
    assert good.low == 0
    # The mean of |s^2 - s| over 0 to 1 is 1/6.
    assert bad.low < 1 / 6 < bad.high
    assert CALIBRATION_BINS == 15


def test_what_is_not_defined_says_why(binary: Make) -> None:
    none_positive = measure(binary([0, 0, 0], [0.1, 0.2, 0.3]))
    assert none_positive["accuracy"].estimate is not None
    reasons = {name: none_positive[name].reason for name in ("precision", "recall", "f1", "roc_auc")}
    assert reasons == {
        "precision": "nothing was predicted positive",
        "recall": "no outcome is positive",
        "f1": "nothing is positive, neither predicted nor true",
        "roc_auc": "all outcomes are of one class",
    }
    empty = measure(binary([], []))
    assert {one.reason for one in empty.values()} == {"no prediction has a known outcome"}
    assert set(empty) == set(CLASSIFICATION)


def test_a_constant_score_ranks_nothing(binary: Make) -> None:
    found = measure(binary([0, 1] * 50, [0.5] * 100))["roc_auc"].estimate
    assert found is not None
    assert found.value == 0.5
    assert found.low < 0.5 < found.high


def test_a_perfect_ranking_of_few_rows_is_not_known_to_be_perfect(binary: Make) -> None:
    found = measure(binary([0] * 5 + [1] * 5, np.linspace(0, 1, 10)))["roc_auc"].estimate
    assert found is not None
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.7


def test_scores_that_are_no_probabilities_rank_but_have_no_log_loss() -> None:
    scores = np.array([-3.0, 2.0, 5.0, -1.0])
    sample = Sample(
        task="binary",
        truth=np.array([0.0, 1.0, 1.0, 0.0]),
        predicted=np.array([0.0, 1.0, 1.0, 0.0]),
        scores=scores,
        places=np.arange(4),
        scores_missing="some scores do not lie between 0 and 1",
    )
    found = measure(sample)
    assert found["roc_auc"].estimate is not None
    assert found["log_loss"].reason == "some scores do not lie between 0 and 1"


def test_certain_and_wrong_is_dear_but_finite(binary: Make) -> None:
    assert values(binary([1, 0], [0.0, 1.0]))["log_loss"] == pytest.approx(-math.log(np.finfo(float).eps))


def test_of_several_classes_means_over_classes_count_and_probabilities_are_those_of_labels() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    truth = np.array([0.0, 1.0, 2.0, 2.0])
    sample = Sample(
        task="multiclass",
        truth=truth,
        predicted=scores.argmax(axis=1) * 1.0,
        scores=scores,
        classes=("a", "b", "c"),
        places=np.arange(4),
    )
    found = values(sample)
    assert found["accuracy"] == 0.75
    assert found["precision"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.8]).mean())
    one_hot = np.eye(3)[truth.astype(int)]
    assert found["brier"] == pytest.approx(np.square(scores - one_hot).sum(axis=1).mean())
    assert found["roc_auc"] == pytest.approx((1 + 1 + 1) / 3)


def test_intervals_hold_what_they_say_of_rows_that_are_independent_and_of_days_that_are_not(binary: Make) -> None:
    """Simulated: 95 % of intervals cover the truth, within what 300 of them can show."""
    random = np.random.default_rng(8)

    def draw(rows: int, per_day: int) -> tuple[Sample, np.ndarray]:
        days = np.arange(rows) // per_day
        inputs = random.normal(size=rows)
        hidden = inputs + random.normal(0, 0.5, size=days.max() + 1)[days]
        truth = random.random(rows) < 1 / (1 + np.exp(-1.5 * hidden))
        return binary(truth * 1.0, 1 / (1 + np.exp(-1.2 * inputs))), days

    expected = values(draw(400_000, 100)[0])
    counts = dict.fromkeys(expected, 0)
    naive = 0
    for _ in range(300):
        sample, days = draw(1500, 100)
        for name, one in measure(sample, blocks=days).items():
            assert one.estimate is not None
            counts[name] += one.estimate.low <= expected[name] <= one.estimate.high
        one = measure(sample)["brier"]
        assert one.estimate is not None
        naive += one.estimate.low <= expected["brier"] <= one.estimate.high
    calibration = counts.pop("calibration_error")
    assert calibration >= 285, "it covers at least as often: chance is taken off in full"
    assert all(270 <= one <= 298 for one in counts.values()), counts
    assert naive < 290


def test_a_metric_survives_the_trip_through_json_and_has_an_interval_of_any_confidence(binary: Make) -> None:
    import json

    for one in measure(binary(TRUTH, SCORES), blocks=np.arange(8) // 2).values():
        again = Metric.from_dict(json.loads(json.dumps(one.to_dict())))
        assert again == one
        assert again.at(0.95) == one
        assert one.estimate is not None
        wide = one.at(0.999).estimate
        assert wide is not None
        assert wide.low <= one.estimate.low
        assert wide.high >= one.estimate.high


def test_one_row_is_measured_and_says_nothing(binary: Make) -> None:
    found = classification(binary([1], [0.9]))
    assert found["roc_auc"] == "all outcomes are of one class"
    one = measure(binary([1], [0.9]))["brier"].estimate
    assert one is not None
    assert (one.low, one.high) == (0, 1)
