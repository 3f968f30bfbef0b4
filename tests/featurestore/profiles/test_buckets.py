"""Cells found by a grid are those of a binary search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.profiles.buckets import Buckets

FLOATS = st.floats(allow_nan=False)
WHOLE = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(st.lists(FLOATS, max_size=200, unique=True).map(sorted), st.lists(FLOATS, max_size=50))
def test_floats(cuts: list[float], values: list[float]) -> None:
    finite = [cut + 0.0 for cut in cuts if np.isfinite(cut)]
    numbers = np.array([*values, *cuts], np.float64)
    assert Buckets(finite).cells(numbers).tolist() == np.searchsorted(finite, numbers, side="left").tolist()


@settings(deadline=None)
@given(st.lists(WHOLE, min_size=1, max_size=200, unique=True).map(sorted), st.lists(WHOLE, max_size=50))
def test_whole_numbers(cuts: list[int], values: list[int]) -> None:
    near = [min(max(cut + step, -(2**63)), 2**63 - 1) for cut in cuts for step in (-1, 0, 1)]
    numbers = np.array(values + near, np.int64)
    found = Buckets(cuts)
    assert found.whole
    assert found.cells(numbers).tolist() == np.searchsorted(np.array(cuts), numbers, side="left").tolist()


@pytest.mark.parametrize(
    "reference",
    [
        np.exp(8 * np.random.default_rng(1).normal(size=3000)),
        1e15 + np.random.default_rng(2).normal(size=3000),
        np.concatenate([np.random.default_rng(3).normal(size=3000), [1e300, -1e300]]),
        np.full(3000, 7.0),
        5e-324 * np.arange(3000),
        1.7e308 * np.linspace(-1, 1, 3000),
    ],
    ids=["skewed", "far from zero", "outliers", "constant", "denormal", "the whole range"],
)
def test_whatever_the_reference_looks_like(reference: np.ndarray) -> None:
    cuts = np.unique(np.quantile(np.sort(reference), np.linspace(0, 1, 148), method="inverted_cdf"))
    values = np.concatenate([reference, cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)])
    assert np.array_equal(Buckets(cuts.tolist()).cells(values), np.searchsorted(cuts, values, side="left"))
