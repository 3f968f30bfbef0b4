"""A metric as a number, what each row adds to it, and how its interval is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featurestore.statistics.design_effect import design_effect
from featurestore.statistics.estimate import Estimate
from monitor.performance.intervals import around, block_correlation, quantile, wilson

#: Whether more is better; of the mean error neither.
HIGHER_IS_BETTER: dict[str, bool | None] = {
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "log_loss": False,
    "brier": False,
    "calibration_error": False,
    "rmse": False,
    "mae": False,
    "bias": None,
    "r2": True,
}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A metric of some rows.

    Attributes:
        name: one of :data:`HIGHER_IS_BETTER`.
        value: the number.
        influence: what each row adds to it: the metric of rows that are drawn again differs from ``value`` by about the
            mean of theirs (Hampel 1974). It is 0 in the mean, shape (rows,).
        form: how the interval is made: ``share`` (Wilson's, of ``size`` rows), ``dice`` (the same of the Jaccard index
            that F1 follows from), ``area`` (the same of the rows that a ROC AUC of this variance is worth), ``root``
            (of the square), ``distance`` (a mean of absolute values, which chance makes larger: ``chance`` is by how
            much), or ``mean``.
        size: rows in the denominator, of a share, dice or area; of an area those of the smaller class.
        chance: by how much the number lies over the truth in expectation, at most.
        low: the least that it can be.
        high: the most.
    """

    name: str
    value: float
    influence: NDArray[np.float64]
    form: Literal["share", "dice", "area", "root", "distance", "mean"] = "mean"
    size: float = 0.0
    chance: float = 0.0
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What the interval of a metric follows from, at any confidence.

    Attributes:
        form: as of :class:`Scored`.
        size: as of :class:`Scored`.
        chance: as of :class:`Scored`.
        deviation: standard deviation of the influences.
        effect: the design effect: how many rows are worth one.
        freedom: degrees of freedom of the deviation.
        low: the least that the metric can be.
        high: the most.
    """

    form: str
    size: float
    chance: float
    deviation: float
    effect: float
    freedom: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric with its interval.

    Attributes:
        name: ``accuracy``.
        estimate: value and interval; None where it is not defined.
        rows: predictions that it is of.
        effective_rows: what they are worth in independent ones.
        rho: how alike two rows of one block are in what they add to it; 0 where blocks are not known.
        reason: why there is no estimate.
        spread: what the interval follows from; None where it was made otherwise.
    """

    name: str
    estimate: Estimate | None
    rows: int
    effective_rows: float = 0.0
    rho: float = 0.0
    reason: str = ""
    spread: Spread | None = None

    def at(self, confidence: float) -> Metric:
        """Return the same metric with the interval of another confidence.

        Raises:
            ValueError: nothing is known that an interval could be made of.
        """
        if self.estimate is None:
            return self
        if self.spread is None:
            raise ValueError(f"the interval of {self.name} is of one confidence only")
        return replace(self, estimate=_interval(self.estimate.value, self.rows, self.spread, confidence))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; what is infinite is None."""
        values = asdict(self)
        if self.estimate is not None:
            values["estimate"] = [_finite(one) for one in self.estimate]
        if self.spread is not None:
            values["spread"] = {name: _finite(one) for name, one in asdict(self.spread).items()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metric:
        """Return what :meth:`to_dict` came from."""
        ends, spread = values["estimate"], values["spread"]
        if ends is not None:
            ends = Estimate(
                ends[0], *(one if one is not None else side for one, side in zip(ends[1:], _SIDES, strict=True))
            )
        if spread is not None:
            low, high = (
                side if spread[end] is None else spread[end] for end, side in zip(("low", "high"), _SIDES, strict=True)
            )
            spread = Spread(**{**spread, "low": low, "high": high})
        return cls(**{**values, "estimate": ends, "spread": spread})


_SIDES = (-math.inf, math.inf)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_interval(
    scored: Scored,
    *,
    confidence: float,
    blocks: NDArray[np.int64] | None = None,
    rho: float | None = None,
    rows_per_block: float = 0.0,
) -> Metric:
    """Return a metric with the interval that its rows allow.

    Args:
        scored: the metric.
        confidence: of the interval.
        blocks: the block of each row, such as its day: rows of one block resemble each other, and the interval is as
            much wider as the design effect that is measured here says.
        rho: the design effect's correlation, measured elsewhere (on the reference); ``blocks`` are not needed then.
        rows_per_block: with ``rho``, rows of this kind that one block brings.
    """
    rows = len(scored.influence)
    freedom = rows - 1.0
    if rho is None and blocks is not None:
        rho = block_correlation(scored.influence, blocks)
        count = len(np.unique(blocks))
        rows_per_block = rows / count
        freedom = count - 1.0 if rho > 0 and count > 1 else freedom
    rho = rho or 0.0
    phi = float(design_effect(min(rows_per_block, rows), rho))
    spread = Spread(
        form=scored.form,
        size=scored.size,
        chance=scored.chance,
        deviation=_deviation(scored.influence),
        effect=phi,
        freedom=freedom,
        low=scored.low,
        high=scored.high,
    )
    return Metric(
        name=scored.name,
        estimate=_interval(scored.value, rows, spread, confidence),
        rows=rows,
        effective_rows=rows / phi,
        rho=rho,
        spread=spread,
    )


def _deviation(influence: NDArray[np.float64]) -> float:
    # In units of the largest one, whose square need not be a number that can be held.
    unit = float(np.abs(influence).max())
    rows = len(influence)
    if not unit:
        return 0.0
    return unit * math.sqrt(float(np.mean(np.square(influence / unit))) * rows / max(1, rows - 1))


def _interval(value: float, rows: int, spread: Spread, confidence: float) -> Estimate:
    phi = spread.effect
    error = spread.deviation * math.sqrt(phi / rows) if rows > 1 else math.inf
    # A share's variance follows from the share: there only a measured design effect limits what is known of it.
    reach = quantile(confidence, spread.freedom if phi > 1 else math.inf)
    if spread.form == "share":
        return wilson(value, spread.size / phi, reach)
    if spread.form == "dice":
        jaccard = wilson(value / (2 - value), spread.size / phi, reach)
        low, high = (2 * one / (1 + one) for one in (jaccard.low, jaccard.high))
        return Estimate(value, min(value, low), max(value, high))
    if spread.form == "area":
        # Its variance never exceeds that of a share of the smaller class (Birnbaum and Klose 1957).
        least = spread.size / phi
        worth = value * (1 - value) / (error * error) if 0 < error < math.inf else least
        return wilson(value, max(least, worth), reach)
    reach = quantile(confidence, spread.freedom)
    if spread.form == "root":
        # Of the square, in units of itself: the square of a number that can be held need not be one.
        square = around(1.0, 2 * error / value if value else 0.0, reach, 0.0, math.inf)
        return Estimate(value, value * min(1.0, math.sqrt(square.low)), value * max(1.0, math.sqrt(square.high)))
    found = around(value, error, reach, spread.low, spread.high)
    if spread.form == "distance":
        return Estimate(value, max(spread.low, found.low - spread.chance * math.sqrt(phi)), found.high)
    return found
