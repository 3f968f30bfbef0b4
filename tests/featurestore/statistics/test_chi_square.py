"""The chi-square test of homogeneity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from featurestore.statistics.chi_square import chi_square
from featurestore.statistics.pooled_cells import LEAST_EXPECTED

counts = st.lists(st.integers(0, 50), min_size=5, max_size=5).filter(any)


def test_the_known_answer() -> None:
    found = chi_square([4, 2, 0], [1, 1, 4], reference_size=6, current_size=6)
    assert found == pytest.approx((6.133333333, 0.04657615, 2), abs=1e-8)


@settings(deadline=None)
@given(counts, counts)
def test_it_is_scipys(one: list[int], two: list[int]) -> None:
    found = chi_square(one, two, reference_size=sum(one), current_size=sum(two))
    table = np.array([one, two])
    expected = chi2_contingency(table[:, table.any(axis=0)], correction=False)
    assert found == pytest.approx((expected.statistic, expected.pvalue, expected.dof), abs=1e-9)


def test_under_no_change_it_is_as_often_significant_as_it_says() -> None:
    rng = np.random.default_rng(4)
    shares = np.array([0.4, 0.3, 0.2, 0.07, 0.03])
    found = [
        chi_square(rng.multinomial(300, shares), rng.multinomial(300, shares), reference_size=300, current_size=300)
        for _ in range(1000)
    ]
    assert np.mean([one.p_value < 0.05 for one in found]) == pytest.approx(0.05, abs=0.02)


def test_rows_worth_a_tenth_give_the_statistic_of_a_tenth_of_the_rows() -> None:
    found = chi_square([400, 300, 300], [300, 300, 400], reference_size=100, current_size=100)
    assert found == pytest.approx(chi_square([40, 30, 30], [30, 30, 40], reference_size=100, current_size=100))


def test_the_rarest_categories_are_pooled_until_five_rows_are_expected() -> None:
    one, two = [2, 100, 60, 1, 0], [0, 90, 70, 0, 3]
    found = chi_square(one, two, reference_size=163, current_size=163, least_expected=LEAST_EXPECTED)
    # 3 and 3 of the rare ones are expected to be 3 a side, so the next rarest, 60 and 70, joins them.
    assert found == pytest.approx(chi_square([63, 100], [73, 90], reference_size=163, current_size=163))
    more = chi_square([4, 4, 100], [3, 3, 102], reference_size=108, current_size=109, least_expected=LEAST_EXPECTED)
    assert more == pytest.approx(chi_square([8, 100], [6, 102], reference_size=108, current_size=108), rel=0.05)
    assert chi_square([9, 9], [9, 9], reference_size=18, current_size=18, least_expected=9).freedom == 1


def test_the_smaller_side_decides_what_is_rare() -> None:
    one, two = [700, 250, 50], [70, 25, 5]
    # Of 100 rows the rarest category expects 5, and of 90 no longer so.
    for size, freedom in ((100, 2), (90, 1)):
        found = chi_square(one, two, reference_size=1000, current_size=size, least_expected=5)
        swapped = chi_square(two, one, reference_size=size, current_size=1000, least_expected=5)
        assert found.freedom == swapped.freedom == freedom


def test_when_all_is_pooled_nothing_is_tested() -> None:
    assert chi_square([1, 2], [2, 1], reference_size=3, current_size=3, least_expected=5) == (0.0, 1.0, 0)


def test_a_side_without_rows_or_one_category_tests_nothing() -> None:
    assert chi_square([0, 0], [2, 1], reference_size=0, current_size=3) == (0.0, 1.0, 0)
    assert chi_square([7], [3], reference_size=7, current_size=3) == (0.0, 1.0, 0)
