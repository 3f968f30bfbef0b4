"""Rules of others, over what a monitor has counted of its windows: what ours is compared with.

A rule gives each column of each window a score, makes one number of a window's scores, and goes off where that reaches
its threshold. The number without the threshold (:meth:`Rule.statistic`) lets a comparison set the threshold itself, so
that two rules have the same rate of false alarms. Of the rules as they are documented:

- Kolmogorov and Smirnov's test (chi-square of homogeneity for categories), p < .05 on any column, plain, after
  Bonferroni, and after Benjamini and Hochberg;
- the population stability index over ten cells of equal share in the reference, over .1 on any column;
- Evidently's default: up to 1,000 reference rows KS, chi-square of goodness of fit, or Z for two values, at p .05; with
  more the Wasserstein distance in standard deviations of the reference, or Jensen and Shannon's distance, from .1 on.
  Drift of the data set is drift of half its columns; "any column" is what its alerts by column amount to;
- NannyML's: Jensen and Shannon's distance (or KS') of a window beyond mean + 3 standard deviations of what chunks of
  the reference have; of equal width are the bins, as many as Doane's formula says.

None of them looks at nulls: Evidently and NannyML drop them first. Who wants the rules to see them passes "is null" as
one more column, of two categories.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc, gammaln, kolmogorov, rel_entr

Floats = NDArray[np.float64]

SIGNIFICANT = 0.05
#: Of PSI, and of both of Evidently's distances.
FAR = 0.1
#: Up to so many reference rows Evidently tests; beyond, it measures distances.
FEW_ROWS = 1000
DRIFTED_SHARE = 0.5
DEVIATIONS = 3.0
STABILITY_CELLS = 10
#: Evidently's share of a cell that is empty.
_EMPTY = 1e-4


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of one kind, counted over cells that do not move.

    Attributes:
        kind: numeric cells ascend. A number with five values or fewer is categorical to Evidently: pass it as that.
        reference: rows of the reference, shape (columns, cells).
        windows: rows of each window, shape (windows, columns, cells).
        values: the number that each cell stands for, shape (columns, cells); numeric columns need it.
        chunks: parts of the reference, shape (chunks, columns, cells), as large as the windows; NannyML's rule needs
            them.
    """

    kind: Literal["numeric", "categorical"]
    reference: NDArray[np.int64]
    windows: NDArray[np.int64]
    values: Floats | None = None
    chunks: NDArray[np.int64] | None = None

    @classmethod
    def of_numbers(cls, reference: ArrayLike, windows: ArrayLike, *, chunks: int = 10) -> Columns:
        """Return one column counted over its distinct values, which is as exact as its rows.

        Args:
            reference: numbers, in the order of time, shape (rows,).
            windows: shape (windows, rows).
            chunks: equal parts of the reference, in order.
        """
        before, after = np.asarray(reference, np.float64), np.asarray(windows, np.float64)
        values = np.unique(np.concatenate([before, after.ravel()]))

        def counted(rows: Floats) -> NDArray[np.int64]:
            return np.bincount(np.searchsorted(values, rows), minlength=len(values))

        return cls(
            kind="numeric",
            reference=counted(before)[None],
            windows=np.array([counted(one) for one in after])[:, None],
            values=values[None],
            chunks=np.array([counted(one) for one in np.array_split(before, chunks)])[:, None],
        )


def kolmogorov_smirnov(reference: NDArray[np.int64], windows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the distance and the logarithm of its p-value, each of shape (windows, columns).

    The p-value is the asymptotic one with Stephens' correction for few rows (1970).
    """
    m, n = reference.sum(axis=-1), windows.sum(axis=-1)
    before = np.cumsum(reference, axis=-1) / np.maximum(m, 1)[..., None]
    after = np.cumsum(windows, axis=-1) / np.maximum(n, 1)[..., None]
    distance = np.abs(before - after).max(axis=-1)
    root = np.sqrt(n / np.maximum(n + m, 1) * m)
    reached = (root + 0.12 + 0.11 / np.maximum(root, 1e-9)) * distance
    reached[(n == 0) | (m == 0)] = 0.0
    # Far out only the first term of the series is left, and its logarithm does not underflow.
    far = reached > 3
    log_p = np.where(far, math.log(2) - 2 * np.square(reached), np.log(kolmogorov(np.where(far, 1.0, reached))))
    return distance, log_p


def homogeneity(reference: NDArray[np.int64], windows: NDArray[np.int64]) -> Floats:
    """Return the logarithm of the p-value of the chi-square test of homogeneity, shape (windows, columns)."""
    m, n = reference.sum(axis=-1)[..., None], windows.sum(axis=-1)[..., None]
    both = reference + windows
    used = both > 0
    scale = np.maximum(both, 1) * np.maximum(m, 1) * np.maximum(n, 1).astype(np.float64)
    statistic = (np.square(windows * m.astype(np.float64) - reference * n.astype(np.float64)) / scale).sum(axis=-1)
    return _log_chi_square(np.where((m * n)[..., 0] > 0, statistic, 0.0), used.sum(axis=-1) - 1)


def goodness_of_fit(reference: NDArray[np.int64], windows: NDArray[np.int64]) -> Floats:
    """Return the logarithm of the p-value of the chi-square test that takes the reference's shares for the truth."""
    used = (reference + windows) > 0
    expected = reference * (windows.sum(axis=-1) / np.maximum(reference.sum(axis=-1), 1))[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(used, np.square(windows - expected) / expected, 0.0)
    statistic = np.where(windows.sum(axis=-1) > 0, np.nan_to_num(terms, nan=0.0, posinf=np.inf).sum(axis=-1), 0.0)
    return _log_chi_square(statistic, used.sum(axis=-1) - 1)


def stability_index(reference: NDArray[np.int64], windows: NDArray[np.int64]) -> Floats:
    """Return the population stability index over the cells given, shape (windows, columns)."""
    p, q = _filled(_shares(reference)), _filled(_shares(windows))
    index: Floats = ((q - p) * np.log(q / p)).sum(axis=-1)
    return np.where(windows.sum(axis=-1) > 0, index, 0.0)


def jensen_shannon(reference: NDArray[np.int64], windows: NDArray[np.int64], *, base: float = math.e) -> Floats:
    """Return Jensen and Shannon's distance over the cells given, shape (windows, columns)."""
    p, q = _shares(reference), _shares(windows)
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / 2 / math.log(base)
    return np.where(windows.sum(axis=-1) > 0, np.sqrt(np.maximum(divergence, 0.0)), 0.0)


def wasserstein(reference: NDArray[np.int64], windows: NDArray[np.int64], values: Floats) -> Floats:
    """Return the Wasserstein-1 distance in standard deviations of the reference, shape (windows, columns)."""
    p, q = _shares(reference), _shares(windows)
    apart = np.abs(np.cumsum(p, axis=-1) - np.cumsum(q, axis=-1))[..., :-1]
    distance = (apart * np.diff(values, axis=-1)).sum(axis=-1)
    mean = (p * values).sum(axis=-1, keepdims=True)
    spread = np.sqrt((p * np.square(values - mean)).sum(axis=-1))
    return np.where(windows.sum(axis=-1) > 0, distance / np.maximum(spread, 0.001), 0.0)


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: what tables call it.
        scores: of columns, shape (windows, columns); large is odd.
        combine: scores of all columns -> one number a window.
        threshold: from which number on the rule goes off as documented.
    """

    name: str
    scores: Callable[[Columns], Floats]
    combine: Callable[[Floats], Floats]
    threshold: float

    def statistic(self, groups: Sequence[Columns]) -> Floats:
        """Return one number a window, shape (windows,), to hold against any threshold.

        Args:
            groups: all columns, those of one kind and number of cells together; the windows are the same in all. Pass
                long streams in parts: counts as floats take eight bytes a cell.
        """
        return self.combine(np.concatenate([self.scores(one) for one in groups], axis=1))

    def alarms(self, groups: Sequence[Columns], threshold: float | None = None) -> NDArray[np.bool_]:
        """Return which windows the rule goes off in, as documented or at another threshold."""
        reached: NDArray[np.bool_] = self.statistic(groups) >= (self.threshold if threshold is None else threshold)
        return reached


def any_column(scores: Floats) -> Floats:
    """Return the largest score of each window."""
    largest: Floats = scores.max(axis=1)
    return largest


def bonferroni(scores: Floats) -> Floats:
    """Return minus the logarithm of the smallest p-value, times the number of columns."""
    return any_column(scores) - math.log(scores.shape[1])


def benjamini_hochberg(scores: Floats) -> Floats:
    """Return minus the logarithm of the smallest level at which the procedure rejects something."""
    count = scores.shape[1]
    ordered = -np.sort(-scores, axis=1)
    return any_column(ordered + np.log(np.arange(1, count + 1) / count))


def half_of_columns(scores: Floats) -> Floats:
    """Return the score that half of the columns have or exceed."""
    least = math.ceil(DRIFTED_SHARE * scores.shape[1])
    found: Floats = -np.partition(-scores, least - 1, axis=1)[:, least - 1]
    return found


def p_value_scores(columns: Columns) -> Floats:
    """Return minus the logarithm of p: KS for numbers, chi-square of homogeneity for categories."""
    if columns.kind == "numeric":
        return -kolmogorov_smirnov(columns.reference, columns.windows)[1]
    return -homogeneity(columns.reference, columns.windows)


def stability_scores(columns: Columns) -> Floats:
    """Return the population stability index: numbers over ten cells of equal share, categories over their own."""
    if columns.kind == "categorical":
        return stability_index(columns.reference, columns.windows)
    groups = equal_shares(columns.reference, STABILITY_CELLS)
    return stability_index(
        merged(columns.reference, groups, STABILITY_CELLS), merged(columns.windows, groups, STABILITY_CELLS)
    )


def evidently_scores(columns: Columns) -> Floats:
    """Return Evidently's default score by column, in units of its threshold: it drifts from 1 on."""
    reference, windows = columns.reference, columns.windows
    if columns.kind == "numeric":
        tested = kolmogorov_smirnov(reference, windows)[1]
        distance = wasserstein(reference, windows, _values(columns))
    else:
        two = ((reference + windows) > 0).sum(axis=-1) <= 2
        # The square of the pooled Z is the statistic of homogeneity for two values.
        tested = np.where(two, homogeneity(reference, windows), goodness_of_fit(reference, windows))
        distance = jensen_shannon(reference, windows)
    few = reference.sum(axis=-1) <= FEW_ROWS
    return np.where(few, tested / math.log(SIGNIFICANT), distance / FAR)


def nannyml_scores(columns: Columns) -> Floats:
    """Return how many standard deviations of the reference's chunks Jensen and Shannon's distance lies off them."""
    reference, windows, chunks = columns.reference, columns.windows, _chunks(columns)
    if columns.kind == "numeric":
        groups, count = doane(reference, _values(columns))
        reference, windows, chunks = (merged(one, groups, count) for one in (reference, windows, chunks))
    return _deviations(jensen_shannon(reference, windows, base=2), jensen_shannon(reference, chunks, base=2))


def nannyml_ks_scores(columns: Columns) -> Floats:
    """Return the same of KS' distance for numbers; categories keep Jensen and Shannon's."""
    if columns.kind == "categorical":
        return nannyml_scores(columns)
    distances = (kolmogorov_smirnov(columns.reference, one)[0] for one in (columns.windows, _chunks(columns)))
    return _deviations(*distances)


RULES = (
    Rule("KS p<.05", p_value_scores, any_column, -math.log(SIGNIFICANT)),
    Rule("Bonferroni", p_value_scores, bonferroni, -math.log(SIGNIFICANT)),
    Rule("Benjamini-Hochberg", p_value_scores, benjamini_hochberg, -math.log(SIGNIFICANT)),
    Rule("PSI>.1", stability_scores, any_column, FAR),
    Rule("Evidently, half of columns", evidently_scores, half_of_columns, 1.0),
    Rule("Evidently, any column", evidently_scores, any_column, 1.0),
    Rule("NannyML, Jensen-Shannon", nannyml_scores, any_column, DEVIATIONS),
    Rule("NannyML, KS", nannyml_ks_scores, any_column, DEVIATIONS),
)


def equal_shares(reference: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the group of each cell, shape (columns, cells), so that groups have about equal shares."""
    ends = np.cumsum(reference, axis=-1)
    total = np.maximum(ends[..., -1:], 1)
    # A cell belongs where its middle lies, so that neither side of a cut gets all that straddle it.
    return np.minimum(((ends - reference / 2) / total * count).astype(np.int64), count - 1)


def doane(reference: NDArray[np.int64], values: Floats) -> tuple[NDArray[np.int64], int]:
    """Return the group of each cell, shape (columns, cells), and the number of groups.

    A column's bins are of equal width over the reference's range, as many as Doane's formula (1976) says; cells beyond
    the range are in the last group, which is no column's bin.
    """
    shares, rows = _shares(reference), np.maximum(reference.sum(axis=-1), 3)
    mean = (shares * values).sum(axis=-1, keepdims=True)
    spread = np.sqrt((shares * np.square(values - mean)).sum(axis=-1, keepdims=True))
    skew = np.abs((shares * ((values - mean) / np.maximum(spread, 1e-300)) ** 3).sum(axis=-1))
    error = np.sqrt(6.0 * (rows - 2) / ((rows + 1.0) * (rows + 3)))
    present = reference > 0
    low = np.where(present, values, np.inf).min(axis=-1, keepdims=True)
    high = np.where(present, values, -np.inf).max(axis=-1, keepdims=True)
    wanted = np.ceil(1 + np.log2(rows) + np.log2(1 + skew / error)).astype(np.int64)
    bins = np.where((high > low)[..., 0], wanted, 1)[..., None]
    places = ((values - low) / np.where(high > low, high - low, 1.0) * bins).astype(np.int64)
    last = int(bins.max())
    outside = (values < low) | (values > high)
    return np.where(outside, last, np.clip(places, 0, bins - 1)), last + 1


def merged(counts: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return counts of groups of cells, shape (..., columns, count)."""
    made = np.zeros((*counts.shape[:-1], count), np.int64)
    for column, group in enumerate(groups):
        chosen = np.eye(count, dtype=np.float64)[group]
        # Floats multiply matrices a hundred times as fast as integers, and hold counts exactly up to 2^53.
        made[..., column, :] = (counts[..., column, :].astype(np.float64) @ chosen).astype(np.int64)
    return made


def _deviations(distances: Floats, chunks: Floats) -> Floats:
    """Return how many standard deviations of the chunks the distances lie off their mean."""
    mean, spread = chunks.mean(axis=0), chunks.std(axis=0)
    # Both sides count: NannyML's lower threshold is one as well, as long as it is over 0.
    off = np.abs(distances - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations: Floats = np.nan_to_num(off / spread, nan=0.0, posinf=np.inf)
    return deviations


def _shares(counts: NDArray[np.int64]) -> Floats:
    made: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return made


def _filled(shares: Floats) -> Floats:
    """Return shares with Evidently's in place of 0."""
    least = np.where(shares > 0, shares, np.inf).min(axis=-1, keepdims=True)
    filled: Floats = np.where(shares > 0, shares, np.where(least <= _EMPTY, least / 1e6, _EMPTY))
    return filled


def _values(columns: Columns) -> Floats:
    if columns.values is None:
        raise ValueError("Numeric columns need the values that their cells stand for.")
    return columns.values


def _chunks(columns: Columns) -> NDArray[np.int64]:
    if columns.chunks is None:
        raise ValueError("NannyML's rule needs chunks of the reference.")
    return columns.chunks


def _log_chi_square(statistic: Floats, freedom: NDArray[np.int64]) -> Floats:
    """Return the logarithm of the chance of a chi-square as large; 0 without degrees of freedom."""
    shape = np.maximum(freedom, 1) / 2
    half = statistic / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log(gammaincc(shape, half))
        # Where the chance underflows: the first term of its expansion.
        far = (shape - 1) * np.log(half) - half - gammaln(shape)
    log_p = np.where(near > -600, near, np.where(np.isinf(half), -np.inf, far))
    return np.where(freedom > 0, log_p, 0.0)
