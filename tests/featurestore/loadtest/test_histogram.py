"""Percentiles of counts against those of the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.loadtest.histogram import BINS, bin_of, percentile, upper_edge

_seconds = st.floats(1e-6, 3000)


@given(values=st.lists(_seconds, min_size=1, max_size=200), percent=st.sampled_from([0.1, 50, 90, 99, 99.9, 100]))
def test_a_percentile_is_never_below_the_true_one_and_at_most_one_percent_above(
    values: list[float], percent: float
) -> None:
    counts = np.zeros(BINS, np.int64)
    for value in values:
        counts[bin_of(value)] += 1
    truth = np.percentile(values, percent, method="inverted_cdf")
    found = percentile(counts, percent, longest=max(values))
    assert found is not None
    assert truth * (1 - 1e-9) <= found <= truth * 1.0100001


def test_what_is_shorter_or_longer_than_all_bins_counts_in_the_outermost() -> None:
    assert [bin_of(0), bin_of(-1), bin_of(1e-9)] == [0, 0, 0]
    assert bin_of(1e9) == BINS - 1
    assert upper_edge(BINS - 1) >= 3600


def test_nothing_has_no_percentile() -> None:
    assert percentile(np.zeros(BINS, np.int64), 99) is None


@pytest.mark.parametrize(("percent", "rank"), [(50, 500), (99, 990), (99.9, 999), (100, 1000)])
def test_a_percentile_counts_as_many_values_as_it_says(percent: float, rank: int) -> None:
    values = np.exp(np.linspace(0, 9, 1000))
    counts = np.zeros(BINS, np.int64)
    for value in values / 1000:
        counts[bin_of(value)] += 1
    assert percentile(counts, percent) == pytest.approx(values[rank - 1] / 1000, rel=0.0101)
