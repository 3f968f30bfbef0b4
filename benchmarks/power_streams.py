"""Streams whose truth is known, drawn as counts: what the power of alarms is measured on.

Three quarters of the features are numbers, standard normal in the baseline, and a quarter are categories, eight of
equal share; rows and features are independent. A window's rows are drawn straight into cells (a multinomial), finer
ones for the rules of others, whose distances know how far a number lies, than for the monitor, which knows its bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from benchmarks.drift_rules import Columns
from featurestore import Field, types
from featurestore.profiles import Baseline, Bins, FeatureBins, Profile, fit_bins

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
#: Blocks of the baseline, each as large as a window.
BLOCKS = 90
CATEGORIES = 8
#: Student's with three degrees of freedom, at the scale that gives it the quartiles of the standard normal.
_TAILED = norm.ppf(0.75) / student.ppf(0.75, 3)
_TAIL_CUTS = np.concatenate([-np.arange(2.5, 9, 0.25), np.arange(2.5, 9, 0.25)])

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of one feature.

    Attributes:
        name: what tables call it.
        distribution: window since the change, from 0 -> distribution function of a changed number; None when it is a
            category that changes.
        nulls: share of rows that are null.
        points: what one category's share grows by.
    """

    name: str
    distribution: Callable[[int], Callable[[Floats], Floats]] | None = None
    nulls: float = 0.0
    points: float = 0.0


def _shifted(by: float) -> Callable[[int], Callable[[Floats], Floats]]:
    return lambda _window: lambda x: norm.cdf(x - by)


CHANGES = (
    Change(name="mean + .1 sigma", distribution=_shifted(0.1)),
    Change(name="mean + .25 sigma", distribution=_shifted(0.25)),
    Change(name="mean + .5 sigma", distribution=_shifted(0.5)),
    Change(name="mean + 1 sigma", distribution=_shifted(1.0)),
    Change(name="variance x 1.5", distribution=lambda _window: lambda x: norm.cdf(x / math.sqrt(1.5))),
    Change(name="one of 8 categories + 5 points", points=0.05),
    Change(name="nulls 0 to 2 %", distribution=_shifted(0.0), nulls=0.02),
    Change(name="tails alone: Student's t, 3 df", distribution=lambda _window: lambda x: student.cdf(x / _TAILED, 3)),
    Change(name="ramp, mean + .01 sigma a window", distribution=lambda window: _shifted(0.01 * (window + 1))(window)),
)


@dataclass(frozen=True)
class Grid:
    """The cells of a number and of a category, for a baseline of so many rows."""

    rows: int

    @cached_property
    def number(self) -> FeatureBins:
        """The monitor's bins, cut at the exact quantiles of the standard normal."""
        values = norm.ppf((np.arange(self.rows) + 0.5) / self.rows)
        return fit_bins(pa.table({"x": values}), [Field(name="x", dtype=types.Float64)]).features[0]

    @cached_property
    def category(self) -> FeatureBins:
        """Eight categories."""
        names = [f"c{at}" for at in range(CATEGORIES)]
        return fit_bins(pa.table({"x": names}), [Field(name="x", dtype=types.String)]).features[0]

    @cached_property
    def cuts(self) -> Floats:
        """The monitor's cuts, and more of them in the tails."""
        return np.unique(np.concatenate([self.number.cuts, _TAIL_CUTS]))

    @cached_property
    def starts(self) -> Counts:
        """The first fine cell of each of the monitor's."""
        return np.append(0, np.searchsorted(self.cuts, self.number.cuts) + 1)

    @cached_property
    def values(self) -> Floats:
        """The number that each fine cell stands for: its mean, of standard normal numbers."""
        ends = np.concatenate([[-np.inf], self.cuts, [np.inf]])
        chance = np.diff(norm.cdf(ends))
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = -np.diff(norm.pdf(ends)) / chance
        low, high = np.append(self.cuts[0] - 0.25, self.cuts), np.append(self.cuts, self.cuts[-1] + 0.25)
        made: Floats = np.where((mean > low) & (mean < high), mean, (low + high) / 2)
        return made

    def chances(self, distribution: Callable[[Floats], Floats]) -> Floats:
        """Return the probability of each fine cell."""
        return np.diff(np.concatenate([[0.0], distribution(self.cuts), [1.0]]))

    @cached_property
    def usual(self) -> Floats:
        """That of standard normal numbers."""
        return self.chances(norm.cdf)


@dataclass(frozen=True)
class Drawn:
    """Counts of all features, each of shape (windows, features, cells); nulls of numbers (windows, features)."""

    numbers: Counts
    categories: Counts
    nulls: Counts


@dataclass(frozen=True)
class World:
    """Features, a baseline of them, and what else windows bring.

    Attributes:
        grid: the cells.
        numbers: how many features are numbers.
        categories: how many are categories.
        rows: of a window, and of a block of the baseline.
        blocks: the baseline, block by block.
    """

    grid: Grid
    numbers: int
    categories: int
    rows: int
    blocks: Drawn

    @classmethod
    def make(cls, rng: np.random.Generator, features: int, rows: int, grid: Grid) -> World:
        """Return a world with a new baseline."""
        categories = features // 4
        blocks = draw(rng, grid, features - categories, categories, rows, BLOCKS)
        return cls(grid, features - categories, categories, rows, blocks)

    def draw(self, rng: np.random.Generator, windows: int) -> Drawn:
        """Return windows in which nothing has changed."""
        return draw(rng, self.grid, self.numbers, self.categories, self.rows, windows)

    def changed(self, rng: np.random.Generator, windows: Drawn, change: Change) -> Drawn:
        """Return windows with their first number, or their first category, changed from the first window on."""
        count = len(windows.numbers)
        if change.distribution is None:
            shares = np.full(CATEGORIES, (1 / CATEGORIES) * (1 - change.points / (1 - 1 / CATEGORIES)))
            shares[0] = 1 / CATEGORIES + change.points
            categories = windows.categories.copy()
            categories[:, 0] = rng.multinomial(self.rows, shares, count)
            return replace(windows, categories=categories)
        numbers, nulls = windows.numbers.copy(), windows.nulls.copy()
        nulls[:, 0] = rng.binomial(self.rows, change.nulls, count)
        for at in range(count):
            chances = self.grid.chances(change.distribution(at))
            numbers[at, 0] = rng.multinomial(self.rows - nulls[at, 0], chances)
        return replace(windows, numbers=numbers, nulls=nulls)

    @cached_property
    def bins(self) -> Bins:
        """The monitor's bins of all features."""
        numbers = (replace(self.grid.number, name=f"number_{at}") for at in range(self.numbers))
        categories = (replace(self.grid.category, name=f"category_{at}") for at in range(self.categories))
        return Bins((*numbers, *categories))

    @cached_property
    def baseline(self) -> Baseline:
        """The monitor's baseline, a block a day."""
        cells = self._fold(self.profiles(self.blocks))
        return Baseline(self.bins, DAY, tuple((START + at * DAY, one) for at, one in enumerate(cells)))

    def profiles(self, windows: Drawn) -> list[Profile]:
        """Return the profile of each window, over the monitor's bins."""
        count = len(windows.numbers)
        values = np.add.reduceat(windows.numbers, self.grid.starts, axis=2)
        nan = np.zeros((count, self.numbers, 1), np.int64)
        numbers = np.concatenate([values, nan, windows.nulls[..., None]], axis=2)
        # Other, unseen and null, of which there are none.
        categories = np.concatenate([windows.categories, np.zeros((count, self.categories, 3), np.int64)], axis=2)
        counts = np.concatenate([numbers.reshape(count, -1), categories.reshape(count, -1)], axis=1)
        empty = Profile.empty(self.bins)
        return [replace(empty, rows=self.rows, counts=one) for one in counts]

    def _fold(self, blocks: list[Profile]) -> list[Profile]:
        """Return blocks without rows out of range: the range is theirs."""
        folded = []
        for one in blocks:
            counts = one.counts.copy()
            cells = counts[: self.numbers * self.grid.number.cells].reshape(self.numbers, -1)
            last = self.grid.number.values - 1
            cells[:, 1] += cells[:, 0]
            cells[:, last - 1] += cells[:, last]
            cells[:, [0, last]] = 0
            folded.append(replace(one, counts=counts))
        return folded

    def columns(self, windows: Drawn, *, nulls: bool) -> list[Columns]:
        """Return windows as the rules of others see them.

        Args:
            windows: to judge.
            nulls: whether "is null" of each number is a column of its own.
        """
        shape = (self.numbers, len(self.grid.values))
        groups = [
            Columns(
                "numeric",
                self.blocks.numbers.sum(axis=0),
                windows.numbers,
                values=np.broadcast_to(self.grid.values, shape),
                chunks=self.blocks.numbers[:10],
            ),
            Columns(
                "categorical",
                self.blocks.categories.sum(axis=0),
                windows.categories,
                chunks=self.blocks.categories[:10],
            ),
        ]
        if nulls:
            before, after = (np.stack([self.rows - one.nulls, one.nulls], axis=2) for one in (self.blocks, windows))
            groups.append(Columns("categorical", before.sum(axis=0), after, chunks=before[:10]))
        return [one for one in groups if one.reference.shape[0]]


def draw(rng: np.random.Generator, grid: Grid, numbers: int, categories: int, rows: int, windows: int) -> Drawn:
    """Return counts of windows in which nothing has changed."""
    equal = np.full(CATEGORIES, 1 / CATEGORIES)
    return Drawn(
        numbers=rng.multinomial(rows, grid.usual, (windows, numbers)),
        categories=rng.multinomial(rows, equal, (windows, categories)),
        nulls=np.zeros((windows, numbers), np.int64),
    )


def tolerated(rng: np.random.Generator, world: World, windows: int, smallest: float) -> Drawn:
    """Return windows in which every feature has moved by just so much that it does not matter yet.

    Numbers have moved to a Kolmogorov-Smirnov distance of ``smallest``, up or down, for good; of categories one has
    that much more.
    """
    shift = 2 * norm.ppf((1 + smallest) / 2)
    numbers = np.empty((windows, world.numbers, len(world.grid.usual)), np.int64)
    for at in range(world.numbers):
        chances = world.grid.chances(_shifted(shift if rng.random() < 0.5 else -shift)(0))
        numbers[:, at] = rng.multinomial(world.rows, chances, windows)
    shares = np.full(CATEGORIES, (1 / CATEGORIES) * (1 - smallest / (1 - 1 / CATEGORIES)))
    shares[0] = 1 / CATEGORIES + smallest
    return Drawn(
        numbers=numbers,
        categories=rng.multinomial(world.rows, shares, (windows, world.categories)),
        nulls=np.zeros((windows, world.numbers), np.int64),
    )
