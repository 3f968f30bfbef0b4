"""Metrics of numbers: by their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitor.performance.measuring import measure, scores_of
from monitor.performance.sample import Sample
from monitor.performance.scored import Scored

Make = Callable[..., Sample]


def test_values_are_those_of_the_definitions(numbers: Make) -> None:
    truth, predicted = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 2.0, 5.0, 5.0])
    found = {name: one.value for name, one in scores_of(numbers(truth, predicted)).items() if isinstance(one, Scored)}
    assert found == pytest.approx({"rmse": (6 / 4) ** 0.5, "mae": 1.0, "bias": 0.5, "r2": 1 - 6 / 14})


@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.float64, n, elements=st.floats(-1e3, 1e3)),
            hnp.arrays(np.float64, n, elements=st.floats(-1e3, 1e3)),
        )
    )
)
def test_intervals_hold_their_value_and_influences_add_to_nothing(rows: tuple[np.ndarray, np.ndarray]) -> None:
    sample = Sample(task="regression", truth=rows[0], predicted=rows[1], scores=None, places=np.arange(len(rows[0])))
    for one in scores_of(sample).values():
        if isinstance(one, Scored):
            assert one.influence.mean() == pytest.approx(0, abs=1e-6 * max(1.0, np.abs(one.influence).max()))
    for metric in measure(sample).values():
        if metric.estimate is not None:
            assert metric.estimate.low <= metric.estimate.value <= metric.estimate.high


@pytest.mark.parametrize("name", ["rmse", "mae", "bias", "r2"])
def test_an_influence_is_the_slope_of_the_metric_in_the_weight_of_a_row(numbers: Make, name: str) -> None:
    random = np.random.default_rng(3)
    truth = random.normal(size=50)
    predicted = truth + random.normal(0.2, 0.5, size=50)
    one = scores_of(numbers(truth, predicted))[name]
    assert isinstance(one, Scored)
    base, row = (np.tile(truth, 2000), np.tile(predicted, 2000)), 7
    more = scores_of(numbers(np.append(base[0], truth[row]), np.append(base[1], predicted[row])))[name]
    assert isinstance(more, Scored)
    assert (more.value - one.value) * len(base[0]) == pytest.approx(one.influence[row], rel=1e-2, abs=1e-3)


def test_the_interval_of_the_mean_error_is_students(numbers: Make) -> None:
    errors = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    found = measure(numbers(np.zeros(10), errors))["bias"].estimate
    assert found is not None
    # Student (1908): the first of his sleeping drugs, mean 0.75, standard deviation 1.789, t(9) 2.262.
    assert found == pytest.approx((0.75, -0.529781, 2.029781), abs=1e-5)


def test_a_perfect_model_and_a_constant_outcome(numbers: Make) -> None:
    found = measure(numbers([2.0, 2.0, 2.0], [2.0, 2.0, 2.0]))
    assert found["rmse"].estimate == (0, 0, 0)
    assert found["r2"].reason == "all outcomes are the same number, or nearly"


def test_numbers_near_the_largest_are_measured(numbers: Make) -> None:
    found = measure(numbers([0.0, 1e300, -1e300], [1e300, 0.0, 1e300]))["rmse"].estimate
    assert found is not None
    assert np.isfinite(found.value)
