"""Domain classifier, maximum mean discrepancy and reconstruction error: what all of them see, and what chance shows."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from featurestore.statistics.domain_classifier import domain_classifier
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.maximum_mean_discrepancy import maximum_mean_discrepancy
from featurestore.statistics.normal_scores import normal_scores
from featurestore.statistics.reconstruction_error import reconstruction_error

Statistic = Callable[..., Estimate]
#: Each with its value under no change.
STATISTICS = {domain_classifier: 0.5, maximum_mean_discrepancy: 0.0, reconstruction_error: 1.0}
EACH = pytest.mark.parametrize("of", STATISTICS, ids=lambda of: of.__name__)
PAIRS = pytest.mark.parametrize("of", [domain_classifier, maximum_mean_discrepancy], ids=lambda of: of.__name__)


def rows(rng: np.random.Generator, count: int, columns: int, correlation: float = 0.0) -> np.ndarray:
    """Return normal rows; the first two columns are correlated."""
    matrix = rng.standard_normal((count, columns))
    matrix[:, 1] = correlation * matrix[:, 0] + math.sqrt(1 - correlation**2) * matrix[:, 1]
    return matrix


@PAIRS
@pytest.mark.parametrize("seed", range(5))
def test_a_change_of_correlation_alone_is_seen(of: Statistic, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert of(rows(rng, 1000, 4), rows(rng, 1000, 4, 0.6)).low > STATISTICS[of]


def test_reconstruction_sees_a_correlation_break() -> None:
    rng = np.random.default_rng(1)
    assert reconstruction_error(rows(rng, 1000, 2, 0.9), rows(rng, 1000, 2)).low > 2


@EACH
@pytest.mark.parametrize("columns", [2, 6])
def test_no_change_is_rarely_surely_one(of: Statistic, columns: int) -> None:
    rng = np.random.default_rng(columns)
    found = [of(rows(rng, 300, columns), rows(rng, 300, columns)) for _ in range(40)]
    # 5 % of 40 are 2; 7 or more have a chance under one in a hundred.
    assert sum(one.low > STATISTICS[of] for one in found) <= 6
    assert sum(one.high < STATISTICS[of] for one in found) <= 6
    assert np.mean([one.high - one.value for one in found]) < 0.4


def test_folds_are_correlated_under_no_change_and_the_interval_knows() -> None:
    rng = np.random.default_rng(3)
    found = np.array([domain_classifier(rows(rng, 400, 6), rows(rng, 400, 6)) for _ in range(150)])
    spread = found[:, 0].std()
    independent = math.sqrt(1 / 12 * 2 / 400)
    assert 1.2 < spread / independent < 1.7
    assert np.mean(found[:, 2] - found[:, 0]) == pytest.approx(1.96 * math.sqrt(2) * independent, rel=0.05)


def test_the_interval_of_the_reconstruction_error_is_as_long_as_it_varies() -> None:
    rng = np.random.default_rng(3)
    columns = rng.standard_normal((3, 8))  # eight columns of three causes and noise
    drawn = [
        reconstruction_error(
            *(rng.standard_normal((rows, 3)) @ columns + rng.standard_normal((rows, 8)) for rows in (300, 600))
        )
        for _ in range(200)
    ]
    logarithms = np.log(np.array(drawn))
    half = np.mean(logarithms[:, 2] - logarithms[:, 1]) / 2
    assert half == pytest.approx(1.96 * logarithms[:, 0].std(), rel=0.15)


@PAIRS
@pytest.mark.parametrize("change", ["mean", "spread", "missing", "category"])
def test_other_changes_are_seen_too(of: Statistic, change: str) -> None:
    rng = np.random.default_rng(7)
    one, two = rows(rng, 1000, 3), rows(rng, 1000, 3)
    if change == "mean":
        two[:, 2] += 0.5
    elif change == "spread":
        two[:, 2] *= 2
    elif change == "missing":
        one[rng.random(1000) < 0.05, 2] = math.nan
        two[rng.random(1000) < 0.3, 2] = math.nan
    else:
        one[:, 2], two[:, 2] = rng.random(1000) < 0.2, rng.random(1000) < 0.4
    assert of(one, two).low > STATISTICS[of]


@EACH
def test_the_same_rows_give_the_same_answer_bit_for_bit(of: Statistic) -> None:
    rng = np.random.default_rng(2)
    one, two = rows(rng, 200, 3), rows(rng, 150, 3)
    assert of(one, two) == of(one.copy(), two.copy())
    assert of(one, two, seed=1) != of(one, two, seed=2)


@EACH
def test_rows_worth_a_tenth_make_the_interval_longer_and_leave_the_value(of: Statistic) -> None:
    rng = np.random.default_rng(2)
    one, two = rows(rng, 1000, 3, 0.5), rows(rng, 1000, 3)
    plain, worth_less = of(one, two), of(one, two, reference_size=100, current_size=100)
    assert worth_less.value == plain.value
    assert 2 < (worth_less.high - worth_less.value) / (plain.high - plain.value) < 6
    assert of(one, two, reference_size=1000, current_size=1000) == plain


@EACH
def test_no_unit_and_no_outlier_counts(of: Statistic) -> None:
    rng = np.random.default_rng(5)
    one, two = rows(rng, 200, 3), rows(rng, 200, 3, 0.8)
    assert of(one, two) == of(np.exp(one) * 1e6, np.exp(two) * 1e6)


@EACH
def test_too_few_rows_no_columns_or_nothing_that_varies_say_nothing(of: Statistic) -> None:
    nothing = {domain_classifier: (0.5, 0.0, 1.0), maximum_mean_discrepancy: (0.0, 0.0, math.sqrt(2))}
    few = of(np.zeros((1, 2)), np.zeros((100, 2)))
    assert few == nothing.get(of, (1.0, 0.0, math.inf))
    for shape in ((50, 0), (50, 2)):
        found = of(np.ones(shape), np.ones(shape))
        assert found.value == STATISTICS[of]
        assert found.low <= STATISTICS[of] <= found.high
    missing = np.full((50, 2), math.nan)
    assert of(missing, missing).value == STATISTICS[of]
    assert of(rows(np.random.default_rng(1), 50, 2), rows(np.random.default_rng(2), 50, 2), current_size=0) == few


@PAIRS
def test_sides_with_nothing_in_common_are_surely_apart(of: Statistic) -> None:
    rng = np.random.default_rng(1)
    found = of(rows(rng, 100, 2), rows(rng, 100, 2) + 50)
    assert found.low > STATISTICS[of] + 0.3
    assert all(math.isfinite(number) for number in found)


def test_a_column_that_vanishes_is_seen() -> None:
    rng = np.random.default_rng(1)
    two = rows(rng, 300, 3)
    two[:, 1] = math.nan
    assert domain_classifier(rows(rng, 300, 3), two).low > 0.9


def test_columns_that_hang_together_exactly_have_a_finite_error() -> None:
    rng = np.random.default_rng(1)
    one = np.repeat(rng.standard_normal((300, 1)), 2, axis=1)
    found = reconstruction_error(one, rows(rng, 300, 2))
    assert found.low > 1
    assert math.isfinite(found.value)


def test_a_pair_among_many_columns_is_found() -> None:
    rng = np.random.default_rng(4)
    assert domain_classifier(rows(rng, 1000, 30), rows(rng, 1000, 30, 0.6)).low > 0.5


def test_the_discrepancy_is_that_of_its_kernel() -> None:
    rng = np.random.default_rng(8)
    one, two = rows(rng, 300, 5), rows(rng, 300, 5) + 0.5
    a, b = normal_scores(one, two)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.exp(-np.square(x[:, None] - y[None]).sum(axis=2) / (2 * 5)).mean())

    exact = math.sqrt(kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))
    assert maximum_mean_discrepancy(one, two, frequencies=400).value == pytest.approx(exact, rel=0.1)
