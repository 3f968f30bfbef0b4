"""Streams in which nothing changes, and what is said of the alarms in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import poisson

from benchmarks.false_alarms.null_streams import BUDGET, Outcome, _draw, run_length_bound
from benchmarks.false_alarms.streams import FEATURES, NULLS, STREAMS, Stream, bins_of, draw


@pytest.mark.parametrize("alarms", [0, 1, 7])
def test_the_bound_of_the_run_length_is_exact(alarms: int) -> None:
    bound = run_length_bound(alarms, 10_000)
    assert poisson.cdf(alarms, 10_000 / bound) == pytest.approx(0.05)


def test_ten_thousand_quiet_windows_prove_the_budget() -> None:
    assert run_length_bound(0, 10_000) > BUDGET


@pytest.mark.parametrize("stream", STREAMS, ids=lambda one: one.name)
def test_counts_are_of_as_many_rows_as_asked_for_whichever_way_they_are_drawn(stream: Stream) -> None:
    rng = np.random.default_rng(1)
    bins = bins_of(stream)
    means = stream.means(rng, 0, 48)
    assert means.shape == (48, FEATURES)
    for rows in (100, 10_000):
        for counts in draw(stream, bins, rng, means[:2], rows):
            cells = [counts[bins.slices[name]] for name in bins.names]
            assert {int(one.sum()) for one in cells} == {rows}
            nulls = np.mean([one[-1] / rows for one in cells])
            assert nulls == pytest.approx(NULLS, abs=0.003)


def test_both_ways_of_drawing_are_of_one_distribution() -> None:
    stream, rng = Stream("shifted"), np.random.default_rng(2)
    bins = bins_of(stream)
    means = np.full((20, FEATURES), 0.4)
    by_row = sum(draw(stream, bins, rng, means, 250)) / (20 * 250)
    by_cell = sum(draw(stream, bins, rng, means, 10_000)) / (20 * 10_000)
    numeric = slice(0, 160 * bins.features[0].cells)
    one, two = (each[numeric].reshape(160, -1).mean(axis=0) for each in (by_row, by_cell))
    assert np.abs(np.cumsum(one) - np.cumsum(two)).max() < 0.003


def test_alarms_are_drawn(tmp_path: Path) -> None:
    loud = np.arange(100)
    outcomes = [Outcome("a stream", 100, np.array([40]), 0.5, {"KS p<.05": loud, "quiet": loud[:0]}, 100)]
    _draw(outcomes, tmp_path / "plots" / "false_alarms.png")
    assert (tmp_path / "plots" / "false_alarms.png").stat().st_size > 1000
