"""The Anderson-Darling distance from counts."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import anderson_ksamp

from featurestore.statistics.anderson_darling import anderson_darling
from featurestore.statistics.cramer_von_mises import cramer_von_mises

samples = st.lists(st.integers(-5, 5), min_size=2, max_size=40)


def deviation(n: int, m: int) -> float:
    """Return the standard deviation of the statistic of two samples: equation 4 of Scholz and Stephens (1987)."""
    total, inverse = n + m, 1 / n + 1 / m
    h = sum(1 / i for i in range(1, total))
    g = sum(sum(1 / ((total - i) * j) for j in range(i + 1, total)) for i in range(1, total - 1))
    a = (4 * g - 6) * (2 - 1) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * 4 + 8 * h * 2 + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    return sqrt((a * total**3 + b * total**2 + c * total + d) / ((total - 1) * (total - 2) * (total - 3)))


@pytest.mark.filterwarnings("ignore:p-value")
@settings(deadline=None)
@given(samples, samples)
def test_it_is_scipys_less_the_number_of_rows(one: list[int], two: list[int]) -> None:
    n, m = len(one), len(two)
    if len({*one, *two}) < 2:
        return
    cells = [np.bincount(np.array(sample) + 5, minlength=11) for sample in (one, two)]
    found = anderson_darling(*cells, reference_size=n, current_size=m)
    scipys = anderson_ksamp([one, two], variant="right").statistic
    assert found.value * n * m / (n + m) == pytest.approx(scipys * deviation(n, m) + 1, abs=1e-9)


def test_it_sees_the_tail_more_than_cramer_von_mises_does() -> None:
    flat = np.full(100, 100)
    tail = np.r_[np.full(99, 98), 298]
    middle = np.r_[np.full(49, 98), 298, np.full(50, 98)]
    ratios = [
        anderson_darling(flat, moved, reference_size=1e4, current_size=1e4).value
        / cramer_von_mises(flat, moved, reference_size=1e4, current_size=1e4).value
        for moved in (tail, middle)
    ]
    assert ratios[0] > ratios[1]


def test_one_cell_cannot_move() -> None:
    assert anderson_darling([4], [9], reference_size=4, current_size=9) == (0.0, 0.0, 0.0)
