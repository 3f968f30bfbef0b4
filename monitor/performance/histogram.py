"""Scores of a binary model, counted over bins that never move; and what share of each bin turned out positive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import MonitorError

#: Bins of equal width from 0 to 1; the decision threshold cuts one of them in two where it lies inside.
BINS = 200


@dataclass(frozen=True, kw_only=True)
class ScoreHistogram:
    """How many scores lie in each bin; histograms of one threshold add up, and their sum is that of all rows.

    Attributes:
        threshold: from which on a prediction counts as positive: the first edge of a bin.
        counts: scores in each bin, shape (bins,).
        sums: their sum, shape (bins,).
        outside: scores that are NaN, infinite or outside 0 to 1; they are in no bin.
    """

    threshold: float
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    outside: int = 0

    @classmethod
    def from_scores(cls, scores: NDArray[np.float64], *, threshold: float = 0.5) -> ScoreHistogram:
        """Count scores, shape (rows,)."""
        inside = scores[(scores >= 0) & (scores <= 1)]
        bins = place(inside, threshold)
        size = len(edges(threshold)) - 1
        return cls(
            threshold=threshold,
            counts=np.bincount(bins, minlength=size),
            sums=np.bincount(bins, weights=inside, minlength=size).astype(np.float64),
            outside=len(scores) - len(inside),
        )

    @property
    def rows(self) -> int:
        """Scores that lie in a bin."""
        return int(self.counts.sum())

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean score of each bin; its middle where it has none."""
        return np.divide(self.sums, self.counts, out=_middles(self.threshold), where=self.counts > 0)

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        if other.threshold != self.threshold:
            raise MonitorError(
                f"Scores counted for the thresholds {self.threshold:g} and {other.threshold:g} cannot be added.",
                hint="Count them again for one threshold.",
            )
        return replace(
            self,
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            outside=self.outside + other.outside,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; :meth:`from_dict` reads them back exactly."""
        return {
            "threshold": self.threshold,
            "counts": self.counts.tolist(),
            "sums": self.sums.tolist(),
            "outside": self.outside,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScoreHistogram:
        """Return the histogram that :meth:`to_dict` came from."""
        return cls(
            threshold=values["threshold"],
            counts=np.array(values["counts"], np.int64),
            sums=np.array(values["sums"], np.float64),
            outside=values["outside"],
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What share of the scores of each bin was positive where outcomes are known; calibrations add up, too.

    Attributes:
        scores: of rows whose outcome is known.
        positives: of them, shape (bins,).
    """

    scores: ScoreHistogram
    positives: NDArray[np.int64]

    @classmethod
    def fit(cls, scores: NDArray[np.float64], truth: NDArray[np.float64], *, threshold: float = 0.5) -> Calibration:
        """Count scores and, of each bin, those whose truth is 1; both of shape (rows,)."""
        inside = (scores >= 0) & (scores <= 1)
        counted = ScoreHistogram.from_scores(scores, threshold=threshold)
        bins = place(scores[inside & (truth == 1)], threshold)
        return cls(scores=counted, positives=np.bincount(bins, minlength=len(counted.counts)))

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(scores=self.scores + other.scores, positives=self.positives + other.positives)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Return the probability of each bin, the level that it belongs to, and the rows of each level.

        Probabilities rise with scores: isotonic regression (Ayer and others 1955) pools neighbouring bins into levels.
        Bins without rows lie on the line between their neighbours, and belong to the nearer one's level.
        """
        # Here, because scipy.optimize takes long to import, and most monitors and commands need none of it.
        from scipy.optimize import isotonic_regression

        seen = np.flatnonzero(self.scores.counts)
        weights = self.scores.counts[seen].astype(np.float64)
        fitted = isotonic_regression(self.positives[seen] / weights, weights=weights)
        level = np.repeat(np.arange(len(fitted.blocks) - 1), np.diff(fitted.blocks))
        means = self.scores.means
        probabilities = np.interp(means, means[seen], fitted.x)
        nearest = np.abs(means[:, None] - means[seen][None, :]).argmin(axis=1)
        return probabilities, level[nearest], np.bincount(level, weights=weights).astype(np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"scores": self.scores.to_dict(), "positives": self.positives.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration that :meth:`to_dict` came from."""
        positives = np.array(values["positives"], np.int64)
        return cls(scores=ScoreHistogram.from_dict(values["scores"]), positives=positives)


def edges(threshold: float) -> NDArray[np.float64]:
    """Return the edges of the bins of one threshold: a bin has its lower edge, the last one has both."""
    return np.union1d(np.arange(BINS + 1) / BINS, [threshold])


def place(scores: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Return the bin of each score, all of which lie from 0 to 1."""
    cuts = edges(threshold)
    found: NDArray[np.int64] = np.minimum(np.searchsorted(cuts, scores, side="right") - 1, len(cuts) - 2)
    return found


def _middles(threshold: float) -> NDArray[np.float64]:
    cuts = edges(threshold)
    return (cuts[1:] + cuts[:-1]) / 2
