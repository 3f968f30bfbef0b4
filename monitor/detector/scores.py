"""Scores: events that a row may be in by halves, so that the middle and the spread of a number count for what they say.

Whether a value lies over a cut tells little of a shift of all values (a sign test has 64 % of what the rows know),
and no cut tells of a spread that grows on both sides. So beside its cuts a number has functions g of its rank u in
the baseline, with values from 0 to 1: the rank itself, the rank's normal quantile z, how far both lie from the
middle, and the complement of each. A row multiplies a value by 1 + lambda (g - b) with lambda = (q - b) / (b (1 -
b)), whose mean is at most 1 as long as the mean of g is at most b: a bet on a bounded mean (Waudby-Smith and Ramdas,
arXiv 2010.09686). Of a g that is 0 or 1 this is the likelihood ratio, so scores and events are one kind of thing. A
rank belongs to a cell, so counts are all it takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from monitor.detector.bounds import deviations_off
from monitor.detector.events import Direction, Event

#: What a rise of the mean of each score says, in the order of :func:`scores_of`.
DIRECTIONS: tuple[Direction, ...] = ("up", "down", "wider", "narrower", "up", "down", "wider", "narrower")
#: How often each can change sides between 0 and 1: a change of the distribution by eps moves its mean by as many eps.
_TURNS = np.array([1, 1, 2, 2, 1, 1, 2, 2])
#: Normal quantiles end here: beyond, a single row would say too much.
_END = 3.0
#: Cells with rows that a number needs for ranks to say more than its cuts.
FEWEST = 8
#: Cells that ranks are told apart in: of so many they lose a thousandth of what they say, and a step costs by the cell.
_CELLS = 50


def edges(values: int) -> NDArray[np.int64]:
    """Return where the runs of cells begin that have one rank, and where the last ends; shape (runs + 1,)."""
    return np.unique(np.round(np.linspace(0, values, min(values, _CELLS) + 1)).astype(np.int64))


def scores_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of each cell, shape (8, cells), by ranks in the baseline's counts of values."""
    upto = np.cumsum(counts)
    u = (upto - counts / 2) / max(1.0, float(upto[-1]))
    normal = np.clip(ndtri(u), -_END, _END)
    z, far = normal / (2 * _END) + 0.5, np.square(normal / _END)
    off = np.abs(2 * u - 1)
    return np.stack([u, 1 - u, off, 1 - off, z, 1 - z, far, 1 - far])


def score_events(values: int) -> list[Event]:
    """Return the events that stand for the scores of a number."""
    return [Event("drift", direction, 0, values, None, score=at) for at, direction in enumerate(DIRECTIONS)]


def score_limits(
    scores: NDArray[np.float64], counts: NDArray[np.float64], size: float, delta: float, smallest_change: float
) -> NDArray[np.float64]:
    """Return mean + r + eps of each score.

    r is the lesser of what Dvoretzky, Kiefer and Wolfowitz allow a monotone function, and Maurer and Pontil's empirical
    Bernstein bound (arXiv 0907.3740). Ranks are of the baseline itself; the mean of the rank over the truth is then a
    mean over the baseline's rows all the same, and that of the other scores is one up to terms of second order.

    Args:
        scores: of each cell, shape (scores, cells).
        counts: the baseline's, shape (cells,).
        size: how many independent rows they are worth.
        delta: the chance to err, a third of it by each bound and by those of the cuts.
        smallest_change: of a probability, that matters.
    """
    if size <= 2:
        return np.ones(len(scores))
    shares = counts / max(1.0, float(counts.sum()))
    mean = scores @ shares
    variance = np.maximum(0.0, np.square(scores) @ shares - np.square(mean))
    uniform = _TURNS * math.sqrt(math.log(6 / delta) / (2 * size))
    log = math.log(6 * len(scores) / delta)
    bernstein = np.sqrt(2 * variance * log / size) + 7 * log / (3 * (size - 1))
    limits: NDArray[np.float64] = np.minimum(1.0, mean + np.minimum(uniform, bernstein) + _TURNS * smallest_change)
    return limits


def score_likeness(scores: NDArray[np.float64], cells: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    """Return rho of the scores: how alike rows of one block are, the largest over them.

    Args:
        scores: of each cell, shape (scores, cells).
        cells: counts by block, shape (blocks, cells), in rows of equal weight.
        rows: their sums, shape (blocks,).
    """
    cells, rows = cells[rows > 0], rows[rows > 0]
    if len(rows) < 2:
        return 1.0
    total = float(rows.sum())
    size = (total - float(np.square(rows).sum()) / total) / (len(rows) - 1)
    if size <= 1:
        return 0.0
    shares = cells.sum(axis=0) / total
    mean = scores @ shares
    variance = np.square(scores) @ shares - np.square(mean)
    spread = (rows[:, None] * np.square(cells @ scores.T / rows[:, None] - mean)).sum(axis=0) / (len(rows) - 1)
    phi = np.divide(spread, variance, out=np.ones_like(spread), where=variance > 1e-12)
    return min(1.0, deviations_off(max(0.0, float((phi - 1).max()) / (size - 1)), len(rows), size))


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of all features that have some.

    Attributes:
        rows: where they are in arrays over events, shape (features, scores).
        edges: where the runs of cells of one rank begin in a profile's counts, and the end of the last, shape
            (features, runs + 1); runs of a feature that has fewer are empty.
        values: the scores, shape (features, scores, runs).
        alternatives: in log odds over the limit, shape (alternatives,).
    """

    rows: NDArray[np.int64]
    edges: NDArray[np.int64]
    values: NDArray[np.float64]
    alternatives: NDArray[np.float64]

    def counted(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each feature's counts, shape (features, runs)."""
        upto = np.concatenate([[0], np.cumsum(counts)])
        return np.diff(upto[self.edges], axis=1).astype(np.float64)

    def sums(self, counted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of each score over rows, shape (features, scores)."""
        return (self.values @ counted[:, :, None])[:, :, 0]

    def bets(self, limits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of a row's factor by cell, shape (features, scores, alternatives, runs).

        Args:
            limits: of each score, shape (features, scores).
        """
        room = limits[:, :, None] < 1 - 1e-6  # closer to 1, a bet is all rounding
        b = np.where(room, limits[:, :, None], 0.5)
        bet = np.where(room, (expit(logit(b) + self.alternatives) - b) / (b * (1 - b)), 0.0)
        return np.log1p(bet[..., None] * (self.values[:, :, None, :] - b[..., None]))

    def log_ratios(self, bets: NDArray[np.float64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what a window of independent rows adds, shape (features, scores, alternatives)."""
        features, scores, alternatives, cells = bets.shape
        flat = bets.reshape(features, scores * alternatives, cells) @ counted[:, :, None]
        return flat.reshape(features, scores, alternatives)
