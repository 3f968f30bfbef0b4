"""Cramer's V with Bergsma's correction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.contingency import association

from featurestore.statistics.cramers_v import cramers_v

counts = st.lists(st.integers(1, 200), min_size=4, max_size=4)


@settings(deadline=None)
@given(counts, counts)
def test_it_is_scipys_coefficient_corrected_as_bergsma_says(one: list[int], two: list[int]) -> None:
    total = sum(one) + sum(two)
    phi = association(np.array([one, two]), method="cramer") ** 2
    corrected = max(0.0, phi - 3 / (total - 1))
    columns, rows = 4 - 9 / (total - 1), 2 - 1 / (total - 1)
    expected = np.sqrt(corrected / min(columns - 1, rows - 1))
    found = cramers_v(one, two, reference_size=sum(one), current_size=sum(two))
    assert found.value == pytest.approx(min(1.0, expected), abs=1e-9)


def test_of_nearly_as_many_categories_as_rows_these_are_the_smaller_dimension() -> None:
    counts = np.r_[np.ones(12), np.zeros(12)]
    found = cramers_v(counts, counts[::-1], reference_size=12, current_size=12)
    # chi-square is as large as the rows are many, 24, of which chance explains its 23 degrees of freedom: 1 - 23 / 23.
    assert found.value == 0
    found = cramers_v(counts, counts[::-1], reference_size=12.25, current_size=12.25)
    assert found.value == pytest.approx(np.sqrt((1 - 23 / 23.5) / (23 - 23**2 / 23.5)))


def test_its_interval_is_as_long_as_the_coefficient_varies_when_one_side_is_small() -> None:
    rng = np.random.default_rng(3)
    p = np.ones(40) / 40
    q = p * np.exp(np.linspace(-1, 1, 40))
    q /= q.sum()

    def interval(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
        found = cramers_v(one, two, reference_size=9000, current_size=300)
        return found.low**2, found.high**2

    found = np.array([interval(rng.multinomial(9000, p), rng.multinomial(300, q)) for _ in range(400)])
    middles = found.mean(axis=1)
    assert np.mean(found[:, 1] - found[:, 0]) / 2 == pytest.approx(1.96 * middles.std(), rel=0.12)


def test_by_chance_alone_it_is_near_zero_whatever_the_number_of_categories() -> None:
    rng = np.random.default_rng(6)
    found = [
        cramers_v(*rng.multinomial(200, np.ones(40) / 40, 2), reference_size=200, current_size=200).value
        for _ in range(100)
    ]
    assert np.mean(found) < 0.06  # 0.31 uncorrected


def test_it_falls_as_one_side_becomes_the_smaller() -> None:
    found = [cramers_v([5, 5], [9, 1], reference_size=size, current_size=1e6).value for size in (1e6, 1e5, 1e4)]
    assert found == sorted(found, reverse=True)
