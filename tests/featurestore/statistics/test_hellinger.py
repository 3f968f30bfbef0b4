"""The Hellinger distance from counts."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ncx2

from featurestore.statistics.hellinger import hellinger


def test_the_known_answer() -> None:
    found = hellinger([5, 3, 2], [4, 4, 2], reference_size=10, current_size=10)
    assert found.value == pytest.approx(0.0798514, abs=1e-7)


@pytest.mark.parametrize(("mean", "known"), [(0.5, 0.1754046), (-2.0, 0.6272714)])
def test_it_is_the_closed_form_for_two_normals_on_a_fine_grid(
    mean: float, known: float, normal_cells: Callable[..., tuple[np.ndarray, list[np.ndarray]]]
) -> None:
    _, cells = normal_cells(mean, count=20_000)
    assert hellinger(*cells, reference_size=1e6, current_size=1e6).value == pytest.approx(known, abs=1e-6)


def test_nothing_in_common_is_one() -> None:
    assert hellinger([5, 0], [0, 5], reference_size=1000, current_size=1000).value == 1


def test_its_interval_inverts_the_non_central_chi_square() -> None:
    value, low, high = hellinger([500, 300, 200], [400, 400, 200], reference_size=2000, current_size=3000)
    scale = 8 / (1 / 2000 + 1 / 3000)
    assert ncx2.cdf(value**2 * scale, 2, high**2 * scale) == pytest.approx(0.025)
    freedom = 1200 * sum(np.sqrt(q / p) / 2000 + np.sqrt(p / q) / 3000 for p, q in ((5, 4), (3, 4), (2, 2))) - 1
    assert ncx2.cdf(value**2 * scale, freedom, low**2 * scale) == pytest.approx(0.975)


def test_a_change_is_sure_although_the_cells_are_many_and_the_rows_few() -> None:
    rng = np.random.default_rng(2)
    tilt = np.exp(np.linspace(-1, 1, 147))
    one, two = rng.multinomial(300, np.ones(147) / 147), rng.multinomial(300, tilt / tilt.sum())
    assert hellinger(one, two, reference_size=300, current_size=300).low > 0.05
