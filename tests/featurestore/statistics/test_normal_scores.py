"""Normal scores of two matrices."""

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata

from featurestore.statistics.normal_scores import normal_scores


def test_they_are_the_normal_quantiles_of_the_pooled_ranks() -> None:
    one, two = np.array([[3.0], [1.0], [1.0]]), np.array([[7.0], [-2.0]])
    found = np.concatenate(normal_scores(one, two)).ravel()
    expected = ndtri(rankdata([3, 1, 1, 7, -2]) / 6)
    assert found == pytest.approx(expected - expected.mean())


def test_no_unit_no_outlier_and_no_infinity_counts() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(20, 2)), rng.normal(size=(10, 2))
    one[3, 0] = 50.0
    plain = normal_scores(one, two)
    other = normal_scores(np.exp(one) * 9, np.exp(two) * 9)
    one[3, 0] = math.inf
    for again in (other, normal_scores(one, two)):
        assert np.array_equal(plain[0], again[0])
        assert np.array_equal(plain[1], again[1])


def test_what_is_missing_is_a_column_once_and_a_constant_is_none() -> None:
    nan = math.nan
    one = np.array([[1.0, 5.0, nan, nan, nan], [2.0, 5.0, 4.0, 1.0, nan]])
    two = np.array([[3.0, 5.0, nan, nan, nan], [0.0, nan, 3.0, 8.0, nan]])
    first, second = normal_scores(one, two)
    # Columns 0, 2 and 3 vary; column 1 is constant where it is there; 2 and 3 miss the same rows; 4 tells nothing.
    assert first.shape == second.shape == (2, 5)
    indicators = np.concatenate([first, second])[:, 3:]
    assert indicators.tolist() == [[0, 1], [0, 0], [0, 1], [1, 0]]
    assert first[0, 1] == 0


def test_matrices_of_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="same columns"):
        normal_scores(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="same columns"):
        normal_scores(np.zeros(3), np.zeros(3))
