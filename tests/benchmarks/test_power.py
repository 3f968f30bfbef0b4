"""The streams of the power benchmark are what their names say, and its cells are filled."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks import power
from benchmarks.power_streams import BLOCKS, CHANGES, Grid, World, tolerated

ROWS = 1000
NAMED = {one.name: one for one in CHANGES}


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid(BLOCKS * ROWS)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.fixture
def world(rng: np.random.Generator, grid: Grid) -> World:
    return World.make(rng, 8, ROWS, grid)


def test_every_row_is_in_one_cell_of_each_feature(world: World, rng: np.random.Generator) -> None:
    windows = world.changed(rng, world.draw(rng, 3), NAMED["nulls 0 to 2 %"])
    for one in (*world.profiles(windows), *(block for _, block in world.baseline.blocks)):
        assert [int(one.cells(name).sum()) for name in world.bins.names] == [ROWS] * 8
    assert world.profiles(windows)[0].nulls("number_0") == pytest.approx(20, abs=15)
    assert world.baseline.whole.nulls("number_0") == 0
    assert [one.reference.shape[0] for one in world.columns(windows, nulls=True)] == [6, 2, 6]


def test_the_monitor_and_the_others_count_the_same_rows(world: World, rng: np.random.Generator) -> None:
    windows = world.draw(rng, 2)
    for at, one in enumerate(world.profiles(windows)):
        shares = np.cumsum(one.cells("number_3")[: world.grid.number.values]) / ROWS
        fine = np.cumsum(windows.numbers[at, 3]) / ROWS
        for cut in (0, 20, -1):
            assert shares[:-1][cut] == fine[:-1][np.searchsorted(world.grid.cuts, world.grid.number.cuts[cut])]


def test_changes_are_as_large_as_they_say(grid: Grid) -> None:
    usual = grid.usual
    assert grid.values @ usual == pytest.approx(0, abs=1e-6)
    assert np.square(grid.values) @ usual == pytest.approx(1, abs=0.01)
    for change in CHANGES:
        if change.distribution is not None:
            chances = grid.chances(change.distribution(0))
            assert chances.sum() == pytest.approx(1)
            distance = np.abs(np.cumsum(chances - usual)).max()
            wanted = {"mean + 1 sigma": 2 * norm.cdf(0.5) - 1, "nulls 0 to 2 %": 0.0}.get(change.name)
            assert wanted is None or distance == pytest.approx(wanted, abs=1e-3)
    quartiles = np.searchsorted(grid.cuts, norm.ppf([0.25, 0.75]))
    tailed = NAMED["tails alone: Student's t, 3 df"].distribution
    assert tailed is not None
    assert tailed(0)(grid.cuts[quartiles]) == pytest.approx(norm.cdf(grid.cuts[quartiles]), abs=1e-3)


def test_what_is_tolerated_lies_just_at_the_smallest_change(world: World, rng: np.random.Generator) -> None:
    moved = tolerated(rng, world, 2000, 0.02)
    shares = moved.numbers.sum(axis=0) / moved.numbers.sum(axis=(0, 2))[:, None]
    distances = np.abs(np.cumsum(shares - world.grid.usual, axis=1)).max(axis=1)
    assert distances == pytest.approx([0.02] * 6, abs=0.002)
    assert moved.categories[:, :, 0].mean() / ROWS == pytest.approx(1 / 8 + 0.02, abs=0.002)
    assert moved.categories.sum(axis=2).min() == ROWS
    none = tolerated(rng, world, 2000, 0.0)
    assert np.abs(none.numbers.mean(axis=0) / ROWS - world.grid.usual).max() < 0.002


def test_cells_are_measured_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "TOLERATED", (0.0,))
    effort = power.Effort(
        runs=1,
        sizes=(ROWS,),
        features=(8,),
        references=2,
        null_windows=50,
        windows=5000,
        evidence_windows={8: 50},
        opinions=1,
    )
    first, second = power.measure(effort), power.measure(effort)
    assert first == second
    assert [one.change for one in first.cells] == [one.name for one in CHANGES]
    plain = next(one for one in first.cells if one.change == "mean + 1 sigma")
    assert plain.others["KS p<.05"] == 1
    assert plain.ours <= plain.kept < 10
