"""The Cramer-von Mises distance from counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import cramervonmises_2samp

from featurestore.statistics.cramer_von_mises import cramer_von_mises

sides = st.lists(st.booleans(), min_size=4, max_size=60).filter(lambda sides: 1 < sum(sides) < len(sides) - 1)


@settings(deadline=None)
@given(sides)
def test_without_ties_it_is_scipys_less_the_number_of_rows(sides: list[bool]) -> None:
    of_two = np.array(sides)
    n, m = int((~of_two).sum()), int(of_two.sum())
    found = cramer_von_mises(~of_two, of_two, reference_size=n, current_size=m)
    ranks = np.arange(len(sides), dtype=float)
    expected = cramervonmises_2samp(ranks[~of_two], ranks[of_two], method="asymptotic").statistic
    assert found.value * n * m / (n + m) == pytest.approx(expected, abs=1e-9)


def test_with_ties_it_is_the_mean_over_all_rows() -> None:
    one, two = np.array([1, 2, 2, 3, 5]), np.array([2, 3, 3])
    differences = [np.mean(one <= value) - np.mean(two <= value) for value in np.concatenate([one, two])]
    cells = [np.bincount(side, minlength=6) for side in (one, two)]
    found = cramer_von_mises(*cells, reference_size=5, current_size=3)
    assert found.value == pytest.approx(np.mean(np.square(differences)))


def test_the_same_order_of_cells_backwards_is_as_far_when_cells_are_fine() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.multinomial(9000, np.ones(900) / 900), rng.multinomial(9000, np.linspace(1, 2, 900) / 1350)
    forth, back = (
        cramer_von_mises(a, b, reference_size=9000, current_size=9000) for a, b in ((one, two), (one[::-1], two[::-1]))
    )
    assert forth.value == pytest.approx(back.value, rel=1e-2)
