"""The Jensen-Shannon distance from counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ncx2

from featurestore.statistics.jensen_shannon import jensen_shannon

counts = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any)


@pytest.mark.parametrize(("base", "known"), [(np.e, 0.0797947), (2, 0.0958432)])
def test_the_known_answers(base: float, known: float) -> None:
    found = jensen_shannon([5, 3, 2], [4, 4, 2], reference_size=10, current_size=10, base=base)
    assert found.value == pytest.approx(known, abs=1e-7)


@settings(deadline=None)
@given(counts, counts, st.sampled_from([2.0, np.e, 10.0]))
def test_it_is_scipys(one: list[int], two: list[int], base: float) -> None:
    found = jensen_shannon(one, two, reference_size=sum(one), current_size=sum(two), base=base)
    squared = jensenshannon(one, two, base) ** 2 if one != two else 0.0
    assert found.value**2 == pytest.approx(squared, abs=1e-14)


@settings(deadline=None)
@given(counts, counts, counts)
def test_it_is_a_metric(one: list[int], two: list[int], three: list[int]) -> None:
    apart = [
        jensen_shannon(*pair, reference_size=1, current_size=1).value
        for pair in ((one, two), (two, three), (one, three))
    ]
    assert apart[2] <= apart[0] + apart[1] + 1e-7


def test_the_interval_is_in_the_unit_of_the_value() -> None:
    nats, bits = (
        jensen_shannon([50, 30, 20], [20, 30, 50], reference_size=200, current_size=300, base=base)
        for base in (np.e, 2)
    )
    assert np.array(bits) == pytest.approx(np.array(nats) / np.sqrt(np.log(2)))


def test_however_far_the_divergence_varies_no_more_than_the_interval_takes_it_to() -> None:
    # r (ln r)^2 <= r ln r + (2 - r) ln(2 - r), with r the ratio of a share to the middle: then it holds cell by cell.
    ratio = np.linspace(1e-9, 2 - 1e-9, 100_001)
    left = ratio * np.log(ratio) ** 2
    assert np.all(left <= ratio * np.log(ratio) + (2 - ratio) * np.log(2 - ratio) + 1e-12)


def test_its_interval_inverts_the_non_central_chi_square() -> None:
    value, low, high = jensen_shannon([500, 300, 200], [400, 400, 200], reference_size=2000, current_size=3000)
    scale = 8 / (1 / 2000 + 1 / 3000)
    assert ncx2.cdf(value**2 * scale, 2, low**2 * scale) == pytest.approx(0.975)
    assert ncx2.cdf(value**2 * scale, 2, high**2 * scale) == pytest.approx(0.025)
