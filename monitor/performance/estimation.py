"""Performance before outcomes: what accuracy, F1, ROC AUC ... should be if the scores mean what they say.

A score that is a calibrated probability tells how often such a prediction turns out positive, so the expected confusion
matrix follows from the scores alone (confidence-based performance estimation, CBPE). It sees when inputs move to where
the model is less sure. It cannot see that the world changed its answer to the same inputs: scores are the model's, and
if what they mean has changed, the estimate is as wrong as they are. So it is an estimate and is named one; the
measured metrics replace it when outcomes are there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.performance.histogram import Calibration, ScoreHistogram, edges
from monitor.performance.intervals import quantile, wilson
from monitor.performance.scored import Metric

#: What is estimated.
ESTIMATED = ("accuracy", "precision", "recall", "f1", "roc_auc", "brier")

Floats = NDArray[np.float64]


def estimate_performance(
    histogram: ScoreHistogram,
    calibration: Calibration | None = None,
    *,
    confidence: float = 0.95,
    effect: float = 1.0,
) -> dict[str, Metric]:
    """Return by name what each metric of these very predictions is expected to be, once outcomes are known.

    The interval covers two things: outcomes fall by chance around their probabilities, and the calibration comes from
    finitely many rows. Bins leave an error of the ROC AUC below the share of pairs that lie in one bin, halved.

    Args:
        histogram: of the scores.
        calibration: what scores mean, from rows whose outcome is known; None takes them for probabilities as they are.
        confidence: of each interval by itself, given that scores mean what they meant there.
        effect: the design effect of outcomes, given their scores: how many rows are worth one.
    """
    if not histogram.rows:
        reason = "no prediction has a score between 0 and 1"
        return {name: Metric(name=name, estimate=None, rows=0, reason=reason) for name in ESTIMATED}
    counts = histogram.counts.astype(np.float64)
    curve = calibration.curve() if calibration is not None and calibration.scores.rows else None
    chances = histogram.means if curve is None else curve[0]
    found = {}
    for name, value in _values(histogram, counts, chances).items():
        if isinstance(value, str):
            found[name] = Metric(name=name, estimate=None, rows=histogram.rows, reason=value)
            continue
        expected, slopes = value
        variance = float(np.square(slopes) @ (counts * chances * (1 - chances)))
        if curve is not None:
            variance += _of_calibration(counts, slopes, *curve)
        variance *= effect
        # Within 0 and 1 whatever the variance: of a share of so many rows as have it.
        size = expected * (1 - expected) / variance if variance > 0 else 0.0
        estimate = wilson(expected, size or histogram.rows / effect, quantile(confidence))
        found[name] = Metric(name=name, estimate=estimate, rows=histogram.rows, effective_rows=histogram.rows / effect)
    return found


def _of_calibration(counts: Floats, slopes: Floats, chances: Floats, level: NDArray[np.int64], sizes: Floats) -> float:
    """Return the variance that comes from how exactly each level's share is known."""
    rows = np.bincount(level, weights=counts, minlength=len(sizes))
    hits = np.bincount(level, weights=counts * chances, minlength=len(sizes))
    shares = np.divide(hits, rows, out=np.zeros_like(hits), where=rows > 0)
    # Half a row each way: a level that was all positive is not known to be.
    shares = (shares * sizes + 0.5) / (sizes + 1)
    of_level = np.bincount(level, weights=slopes * counts, minlength=len(sizes))
    return float(np.square(of_level) @ (shares * (1 - shares) / sizes))


def _values(histogram: ScoreHistogram, counts: Floats, chances: Floats) -> dict[str, tuple[float, Floats] | str]:
    """Return each metric's expectation, and how it grows with a positive more in each bin."""
    positive = counts * chances
    negative = counts - positive
    total, true, false = counts.sum(), positive.sum(), negative.sum()
    chosen = (edges(histogram.threshold)[:-1] >= histogram.threshold).astype(np.float64)
    taken, hit = float(counts @ chosen), float(positive @ chosen)
    found: dict[str, tuple[float, Floats] | str] = {
        "accuracy": ((hit + float(negative @ (1 - chosen))) / total, (2 * chosen - 1) / total)
    }
    found["precision"] = (hit / taken, chosen / taken) if taken else "nothing was predicted positive"
    found["recall"] = (hit / true, chosen / true - hit / true**2) if true else "no outcome is expected to be positive"
    both = taken + true
    found["f1"] = (
        (2 * hit / both, 2 * chosen / both - 2 * hit / both**2) if both else "nothing is positive, nor expected to be"
    )
    found["roc_auc"] = (
        _area(positive, negative, float(true), float(false))
        if true and false
        else "all outcomes are expected to be of one class"
    )
    scores = histogram.means
    brier = float(positive @ np.square(1 - scores) + negative @ np.square(scores)) / total
    found["brier"] = (brier, (1 - 2 * scores) / total)
    return found


def _area(positive: Floats, negative: Floats, true: float, false: float) -> tuple[float, Floats]:
    below = np.cumsum(negative) - negative / 2
    above = true - np.cumsum(positive) + positive / 2
    value = float(positive @ below) / (true * false)
    return value, (below - above) / (true * false) - value / true + value / false
