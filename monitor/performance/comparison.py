"""Is B at least 5 % better than A? Two versions, one number of the business each, and an answer in words.

The question is put as one contrast, ``mean(B) - (1 + margin) * mean(A)``: yes if its interval lies above 0, no if it
lies below, not yet otherwise. A margin of 0 asks for superiority, one below 0 ("at most 2 % worse") for
non-inferiority.

People look at a running comparison until it pleases them, and then an interval of 95 % is wrong far more often than
once in 20. ``always_valid`` gives one that may be looked at as often as one likes: an asymptotic confidence sequence
(Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476), which is wider, and right at every time together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from featurestore.statistics.estimate import Estimate
from monitor.performance.intervals import around, difference, quantile, ratio, wilson

Answer = Literal["yes", "no", "not yet", "not enough data"]

#: Effective rows below which neither an interval nor an asymptotic sequence means much.
MINIMUM_ROWS = 30.0
#: The chance that the rows which are asked for settle it, if the difference is what it seems.
POWER = 0.8
#: Rows at which a confidence sequence is narrowest; it is valid at all.
_PLANNED_ROWS = 10_000
#: More than anyone will have.
_MOST_ROWS = 1e15


@dataclass(frozen=True, kw_only=True)
class Margin:
    """By how much B must be better.

    Attributes:
        amount: 0.05 with ``relative`` is 5 % of A's mean, without it 0.05 in the unit of the metric; below 0 it is by
            how much B may be worse.
        relative: whether it is a part of A's mean.
        lower_is_better: whether a smaller metric is the better one.
    """

    amount: float = 0.0
    relative: bool = True
    lower_is_better: bool = False

    def factor(self, mean: float) -> float:
        """Return what A's mean is multiplied by in the contrast."""
        if not self.relative:
            return 1.0
        # Of a mean below 0 better by a part is nearer to 0.
        up = (mean >= 0) != self.lower_is_better
        return 1 + self.amount if up else 1 - self.amount


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One version.

    Attributes:
        name: ``scoring@1``.
        rows: that have the metric.
        mean: of it.
        variance: of it.
        effect: the design effect: how many rows are worth one.
        freedom: degrees of freedom of the interval; infinite where only the rows limit it.
        binary: whether every value is 0 or 1.
        estimate: the mean with its interval.
    """

    name: str
    rows: int
    mean: float
    variance: float
    effect: float
    freedom: float
    binary: bool
    estimate: Estimate

    @property
    def effective_rows(self) -> float:
        """What the rows are worth in independent ones."""
        return self.rows / self.effect

    @property
    def row_variance(self) -> float:
        """The variance of one row; of a share as if half a row more were of each kind, so that it never is 0."""
        if not self.binary:
            return self.variance
        share = (self.mean * self.effective_rows + 0.5) / (self.effective_rows + 1)
        return share * (1 - share)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is known of B against A.

    Attributes:
        metric: ``conversion``.
        a: the version that B is compared with.
        b: the version in question.
        margin: by how much B must be better.
        difference: mean of B less mean of A.
        ratio: mean of B over mean of A; None unless both are above 0.
        contrast: by how much B exceeds what is asked, above 0 where it does, in the unit of the metric.
        answer: ``yes``, ``no``, ``not yet``, or ``not enough data``.
        rows_needed: rows of each version that would settle it with a chance of 0.8, if the difference is what it seems
            and both have as many; None where it is settled, or lies at the margin itself.
        always_valid: whether the intervals hold however often one looks.
        confidence: of the intervals.
    """

    metric: str
    a: Arm
    b: Arm
    margin: Margin
    difference: Estimate
    ratio: Estimate | None
    contrast: Estimate
    answer: Answer
    rows_needed: int | None
    always_valid: bool
    confidence: float

    @property
    def text(self) -> str:
        """What was found, in two or three sentences."""
        return f"{self._answered()}. {self._measured()}.{self._outlook()}"

    def _answered(self) -> str:
        a, b, margin = self.a, self.b, self.margin
        amount = f"{abs(margin.amount):.4g}"
        if margin.relative:
            amount = f"{abs(margin.amount) * 100:.4g} %"
        asked = (
            f"at least {amount} better"
            if margin.amount > 0
            else f"at most {amount} worse"
            if margin.amount
            else "better"
        )
        if self.answer == "yes":
            return f"Yes: {b.name} is {asked} than {a.name}"
        if self.answer == "no":
            return f"No: {b.name} is not {asked} than {a.name}"
        if self.answer == "not yet":
            return f"Not yet: whether {b.name} is {asked} than {a.name} is open"
        return (
            f"Not enough data: {a.name} has {a.effective_rows:,.0f} independent rows and {b.name} "
            f"{b.effective_rows:,.0f}, and {MINIMUM_ROWS:.0f} of each are needed"
        )

    def _measured(self) -> str:
        a, b, change = self.a, self.b, self.difference
        shown = "" if self.ratio is None else f", ratio {_shown(self.ratio)}"
        kind = "at any time" if self.always_valid else "for one look"
        return (
            f"{self.metric}: {a.name} {a.mean:.4g} over {_rows(a)}, {b.name} {b.mean:.4g} over {_rows(b)}; "
            f"difference {_shown(change)}{shown} ({self.confidence * 100:.4g} %, {kind})"
        )

    def _outlook(self) -> str:
        if self.answer != "not yet":
            return ""
        if self.rows_needed is None:
            return " It lies at the margin itself, or its spread is not known: no number of rows can be named."
        return f" About {self.rows_needed:,} rows of each would settle it, if the difference is what it seems."


def _rows(arm: Arm) -> str:
    worth = f" (worth {arm.effective_rows:,.0f} independent ones)" if arm.effect > 1 else ""
    return f"{arm.rows:,} rows{worth}"


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"


def compare(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    *,
    metric: str,
    names: tuple[str, str] = ("A", "B"),
    margin: Margin | None = None,
    blocks: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    confidence: float = 0.95,
    always_valid: bool = False,
) -> Comparison:
    """Return what is known of B against A.

    Of values that are all 0 or 1 the intervals are Newcombe's (1998) for the difference and that of Donner and Zou
    (2012) for the ratio, both of Wilson's; of others the textbook's and Fieller's (1954).

    Args:
        a: the metric of each prediction of A, shape (rows,); what is not finite is left out.
        b: that of each prediction of B.
        metric: its name.
        names: of the two.
        margin: by how much B must be better; none asks whether it is better at all.
        blocks: of each row of A and B, such as its day: the design effect is measured over them, and what days do to
            both falls out of the difference.
        confidence: of each interval by itself.
        always_valid: whether the intervals must hold however often one looks.
    """
    margin = margin or Margin()
    kept = [np.isfinite(one) for one in (a, b)]
    values = [one[keep] for one, keep in zip((a, b), kept, strict=True)]
    days = [None, None] if blocks is None else [one[keep] for one, keep in zip(blocks, kept, strict=True)]
    binary = all(bool(np.isin(one, (0.0, 1.0)).all()) for one in values)
    one, other = (
        _arm(name, of_arm, of_days, binary=binary, confidence=confidence)
        for name, of_arm, of_days in zip(names, values, days, strict=True)
    )
    together = 0.0
    if always_valid:
        one, other = _time_uniform(one, other, 1 - confidence)
    elif days[0] is not None and days[1] is not None:
        together = _correlation(one, other, values, (days[0], days[1]))
    found = _contrast(one.estimate, other.estimate, margin, together)
    enough = min(one.effective_rows, other.effective_rows) >= MINIMUM_ROWS
    answer: Answer = "not enough data"
    if enough:
        answer = "yes" if found.low > 0 else "no" if found.high < 0 else "not yet"
    settled = Comparison(
        metric=metric,
        a=one,
        b=other,
        margin=margin,
        difference=difference(other.estimate, one.estimate, together),
        ratio=ratio(other.estimate, one.estimate, together) if one.mean > 0 and other.mean > 0 else None,
        contrast=found,
        answer=answer,
        rows_needed=None,
        always_valid=always_valid,
        confidence=confidence,
    )
    return replace(settled, rows_needed=_rows_needed(settled, together)) if answer == "not yet" else settled


def _correlation(
    a: Arm, b: Arm, values: list[NDArray[np.float64]], days: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> float:
    """Return the correlation of two means that comes from days which both versions served.

    A day that is good for both moves neither against the other: with a canary beside its production version most of
    what days do falls out of the difference.
    """
    if a.effect <= 1 or b.effect <= 1:
        return 0.0
    known = np.union1d(*days)
    one, other = (_day_sums(of_arm, of_days, known) for of_arm, of_days in zip(values, days, strict=True))
    spread = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / spread if spread else 0.0


def _day_sums(values: NDArray[np.float64], days: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return by how much each day moves the mean, shape (days,)."""
    off = np.bincount(np.searchsorted(known, days), weights=values - values.mean(), minlength=len(known))
    return off / len(values)


def _arm(
    name: str,
    values: NDArray[np.float64],
    days: NDArray[np.int64] | None,
    *,
    binary: bool,
    confidence: float,
) -> Arm:
    rows = len(values)
    mean = float(values.mean()) if rows else 0.0
    count = 0 if days is None else len(np.unique(days))
    phi = 1.0
    # One day alone tells nothing of how days differ.
    if days is not None and count > 1:
        spread = float(values.var())
        sums = _day_sums(values, days, np.unique(days))
        clustered = float(sums @ sums) * count / (count - 1)
        phi = max(1.0, clustered * rows / spread) if spread else 1.0
    freedom = count - 1.0 if phi > 1 else math.inf if binary else rows - 1.0
    variance = mean * (1 - mean) if binary else float(values.var(ddof=1)) if rows > 1 else math.inf
    reach = quantile(confidence, freedom)
    if binary:
        estimate = wilson(mean, rows / phi, reach)
    else:
        error = math.sqrt(variance * phi / rows) if rows else math.inf
        estimate = around(mean, error, reach, -math.inf, math.inf)
    return Arm(
        name=name,
        rows=rows,
        mean=mean,
        variance=variance,
        effect=phi,
        freedom=freedom,
        binary=binary,
        estimate=estimate,
    )


def _contrast(a: Estimate, b: Estimate, margin: Margin, correlation: float) -> Estimate:
    """Return by how much B exceeds what is asked of it."""
    factor = margin.factor(a.value)
    ends = [end * factor for end in a]
    asked = Estimate(ends[0], min(ends), max(ends))
    value, low, high = difference(b, asked, correlation if factor >= 0 else -correlation)
    if margin.lower_is_better:
        value, low, high = -value, -high, -low
    shift = 0.0 if margin.relative else margin.amount
    return Estimate(value - shift, low - shift, high - shift)


def _time_uniform(one: Arm, other: Arm, alpha: float) -> tuple[Arm, Arm]:
    """Return the arms with intervals whose combinations hold at every time.

    For each arm a Gaussian mixture turns the sum of its values into a martingale; the product of two is one again,
    whatever decides who gets the next row. The means for which it stays under 1/alpha form an ellipse; seen from any
    contrast its half-width is the root of the sum of two squares, as of two symmetric intervals.
    """
    level = -2 * math.log(alpha)
    mixture = _mixture(level)
    spent = level + sum(math.log(1 + arm.effective_rows * mixture) for arm in (one, other))

    def widened(arm: Arm) -> Arm:
        rows = arm.effective_rows
        if rows < MINIMUM_ROWS:
            low, high = (0.0, 1.0) if arm.binary else (-math.inf, math.inf)
            return replace(arm, estimate=Estimate(arm.mean, low, high))
        half = math.sqrt(spent * arm.row_variance * (rows * mixture + 1) / (rows * rows * mixture))
        return replace(arm, estimate=Estimate(arm.mean, arm.mean - half, arm.mean + half))

    return widened(one), widened(other)


def _mixture(level: float) -> float:
    """Return the variance of the mixture that makes a sequence narrowest at the planned rows."""
    return (level + math.log(level + 1)) / _PLANNED_ROWS


def _rows_needed(found: Comparison, correlation: float) -> int | None:
    """Return rows of each version after which the contrast's interval leaves 0 out, with a chance of POWER."""
    a, b, distance = found.a, found.b, found.contrast.value
    factor = found.margin.factor(a.mean)
    # What a row of each adds to the contrast's variance, at the same number of days in proportion.
    one, other = a.row_variance * a.effect * factor**2, b.row_variance * b.effect
    variance = one + other - 2 * correlation * math.sqrt(one * other)
    if not distance or not math.isfinite(variance):
        return None
    unit, power = variance / (distance * distance), float(ndtri(POWER))
    rows = unit * (quantile(found.confidence) + power) ** 2
    if found.always_valid:
        level = -2 * math.log(1 - found.confidence)
        mixture = _mixture(level)
        # The width depends on the rows; each round comes nearer.
        for _ in range(50):
            worth = max(1.0, rows / max(a.effect, b.effect))
            width = (level + 2 * math.log(1 + worth * mixture)) * (1 + 1 / (worth * mixture))
            rows = unit * (math.sqrt(width) + power) ** 2
    return math.ceil(rows) if rows < _MOST_ROWS else None
