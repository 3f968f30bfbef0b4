"""The quantile of the norm of a normal error."""

import numpy as np
import pytest
from scipy.stats import chi2, norm

from featurestore.statistics.norm_interval import cumulative_covariance, norm_error


def test_it_is_exact_in_one_dimension_and_in_several_alike() -> None:
    assert norm_error(np.array([[4.0]]), 0.95) == pytest.approx(2 * norm.ppf(0.975))
    assert norm_error(np.eye(7) * 1e-12, 0.9) ** 2 == pytest.approx(1e-12 * chi2.ppf(0.9, 7))
    assert norm_error(np.zeros((3, 3)), 0.95) == 0
    assert norm_error(np.zeros((0, 0)), 0.95) == 0


def test_it_has_the_limits_of_cramer_von_mises_and_anderson_darling() -> None:
    points = (np.arange(400) + 0.5) / 400
    bridge = cumulative_covariance(points, points, 2.0, 2.0)
    assert norm_error(bridge / 400, 0.95) ** 2 == pytest.approx(0.46136, rel=0.02)  # Anderson and Darling (1952)
    assert norm_error(bridge / 400, 0.99) ** 2 == pytest.approx(0.74346, rel=0.02)
    weights = 1 / np.sqrt(points * (1 - points) * 400)
    assert norm_error(bridge * weights * weights[:, None], 0.95) ** 2 == pytest.approx(2.492, rel=0.02)


def test_the_covariance_is_that_of_the_functions_difference() -> None:
    rng = np.random.default_rng(1)
    cells = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.3, 0.1])
    drawn = (rng.multinomial(40, cells[0], 40_000) / 40 - rng.multinomial(15, cells[1], 40_000) / 15).cumsum(axis=1)
    expected = cumulative_covariance(cells[0].cumsum(), cells[1].cumsum(), 40, 15)
    assert np.allclose(np.cov(drawn, rowvar=False), expected, atol=3e-4)
