"""Where the rows of cells lie on the line."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.definitions import Field
from featurestore.profiles import fit_bins, merge, profile
from featurestore.statistics.numeric_cells import NumericCells, Pieces, pieces
from featurestore.types import Float64

CUTS = np.array([0.0, 1.0, 2.0, 4.0])
numbers = st.lists(st.floats(-20, 20), min_size=1, max_size=30)


def of_values(values: list[float]) -> NumericCells:
    """Return the cells of finite values."""
    counts = np.bincount(np.searchsorted(CUTS, values), minlength=5).astype(float)
    return NumericCells(counts, min(values), max(values), float(np.mean(values)))


def lift(found: Pieces) -> float:
    """Return by how much the reference's mean exceeds the current one: the integral of the functions' difference."""
    return float(found.widths @ (found.current - found.reference).mean(axis=1))


def test_rows_are_spread_evenly_between_cuts_or_lie_at_the_upper_one() -> None:
    side = NumericCells(np.array([0.0, 1, 2, 1, 0]), 0.5, 3.0)
    even = pieces(side, side, CUTS, discrete=False)
    assert even.widths.tolist() == [1, 1, 2]
    assert even.reference.tolist() == [[0, 0.25], [0.25, 0.75], [0.75, 1]]
    steps = pieces(side, side, CUTS, discrete=True)
    assert steps.current.tolist() == [[0, 0], [0.25, 0.25], [0.75, 0.75]]


def test_rows_beyond_the_cuts_lie_where_their_mean_says() -> None:
    # Nine rows just over the last cut and one far out: the even spread would put their mean at 502.
    values = [2.0] * 90 + [5.0] * 9 + [1000.0]
    side = NumericCells(np.array([0.0, 0, 90, 0, 10]), 2.0, 1000.0, float(np.mean(values)))
    found = pieces(side, side, CUTS, discrete=True)
    beyond = found.reference[found.widths.cumsum() > 4 + 1e-9]
    widths = found.widths[found.widths.cumsum() > 4 + 1e-9]
    assert float(widths @ (1 - beyond.mean(axis=1))) == pytest.approx(0.1 * (np.mean([5.0] * 9 + [1000.0]) - 4))


@settings(deadline=None)
@given(numbers, numbers, st.booleans())
def test_both_functions_rise_from_nothing_to_all(one: list[float], two: list[float], discrete: bool) -> None:
    found = pieces(of_values(one), of_values(two), CUTS, discrete=discrete)
    assert np.all(found.widths > 0)
    for function in (found.reference, found.current):
        along = function.ravel()
        assert np.all(np.diff(along) >= -1e-12)
        assert along.min() >= 0
        assert along.max() <= 1 + 1e-12


inside = st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=1, max_size=9)
under = st.lists(st.floats(-30, -1), max_size=9)
over = st.lists(st.floats(4.5, 90), max_size=9)


@settings(deadline=None)
@given(inside, under, over)
def test_the_functions_are_as_far_apart_in_the_mean_as_the_rows_are(
    inner: list[float], lower: list[float], upper: list[float]
) -> None:
    values = inner + lower + upper
    found = pieces(of_values(values), of_values(inner), CUTS, discrete=True)
    assert lift(found) == pytest.approx(np.mean(values) - np.mean(inner), abs=1e-9)


@settings(deadline=None)
@given(numbers, numbers)
def test_so_they_are_when_rows_lie_anywhere(one: list[float], two: list[float]) -> None:
    found = pieces(of_values(one), of_values(two), CUTS, discrete=False)
    assert lift(found) == pytest.approx(np.mean(one) - np.mean(two), abs=1e-7)


def test_the_widest_cell_moves_to_its_end_before_the_mean_is_given_up() -> None:
    # All rows lie at the lower ends of their cells, or nearly.
    values = np.array([-20.0, -19.9, 0.01, 1.01, 2.01, 4.01, 4.02, 20.0])
    found = pieces(of_values(values.tolist()), of_values([0.0]), CUTS, discrete=False)
    assert lift(found) == pytest.approx(values.mean(), abs=1e-12)


def test_a_profile_gives_its_numbers_and_a_merged_one_those_of_all_its_rows() -> None:
    rows = pa.table({"x": pa.array([1.0, None, math.nan, math.inf, 5.0, 2.0, -3.0])})
    bins = fit_bins(pa.table({"x": [0.0, 1.0, 2.0, 3.0]}), [Field(name="x", dtype=Float64)])
    whole = NumericCells.of(profile(rows, bins), "x")
    parts = NumericCells.of(merge([profile(rows.slice(0, 3), bins), profile(rows.slice(3), bins)]), "x")
    assert whole.counts.tolist() == parts.counts.tolist()
    assert whole.counts.sum() == 5
    assert (whole.minimum, whole.maximum, whole.mean) == (-3.0, 5.0, 1.25)
    assert (parts.minimum, parts.maximum) == (-3.0, 5.0)
    assert parts.mean == pytest.approx(1.25)


def test_a_profile_without_finite_numbers_has_no_mean() -> None:
    bins = fit_bins(pa.table({"x": [0.0, 1.0]}), [Field(name="x", dtype=Float64)])
    side = NumericCells.of(profile(pa.table({"x": [math.inf, -math.inf]}), bins), "x")
    assert math.isnan(side.mean)
    found = pieces(side, side, bins.features[0].cuts, discrete=False)
    assert np.isfinite(found.widths).all()
