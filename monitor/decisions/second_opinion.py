"""A second opinion: do all features together look different, whatever each of them says alone?

It costs a pass over samples of rows, where everything else is computed from counts, so it is asked for and not given.
It turns no key: without evidence over time, it is one look at one window.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.profiles import Bins
from featurestore.statistics.design_effect import design_effect
from featurestore.statistics.domain_classifier import domain_classifier
from featurestore.statistics.encoding import encode
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.maximum_mean_discrepancy import maximum_mean_discrepancy
from monitor.decisions.finding import Association, SecondOpinion, Verdict

#: How many pairs of numbers are named.
NAMED = 3
#: A rank correlation has changed when the difference of Fisher's z is so many standard errors.
_SURE = 4.0


def second_opinion(
    reference: pa.Table,
    current: pa.Table,
    bins: Bins,
    *,
    effect_threshold: float,
    rho: float = 0.0,
    reference_blocks: float = 1.0,
    current_blocks: float = 1.0,
) -> SecondOpinion:
    """Return what a domain classifier and the maximum mean discrepancy make of two samples of rows.

    Args:
        reference: sampled rows of the baseline: the table of a row sample; a few thousand rows do.
        current: sampled rows of the window. A column that is missing counts as null in every row.
        bins: the baseline's.
        effect_threshold: the share of rows that must be elsewhere before anyone is told.
        rho: how alike rows of one block are: the largest over the features.
        reference_blocks: blocks that the reference's rows come from.
        current_blocks: blocks, or the part of one, that the current rows come from.

    Raises:
        SchemaError: a column cannot be read as the field's type.
    """
    one, two = encode(reference, bins), encode(current, bins)
    before = _worth(len(one.matrix), reference_blocks, rho)
    now = _worth(len(two.matrix), current_blocks, rho)
    area = domain_classifier(one.matrix, two.matrix, reference_size=before, current_size=now)
    threshold = (1 + effect_threshold) / 2
    numeric = {feature.name for feature in bins.features if feature.kind == "numeric"}
    chosen = [at for at, name in enumerate(one.columns) if name in numeric]
    names = [one.columns[at] for at in chosen]
    return SecondOpinion(
        area=area,
        discrepancy=maximum_mean_discrepancy(one.matrix, two.matrix, reference_size=before, current_size=now),
        threshold=threshold,
        reference_rows=reference.num_rows,
        current_rows=current.num_rows,
        associations=_changed(names, one.matrix[:, chosen], two.matrix[:, chosen], (before, now)),
        verdict=_verdict(area, threshold),
    )


def _worth(rows: int, blocks: float, rho: float) -> float:
    """Return how many independent rows a sample is worth: fewer of a block resemble each other less."""
    return rows / float(design_effect(rows / blocks, rho))


def _verdict(area: Estimate, threshold: float) -> Verdict:
    middle = (1 + threshold) / 2
    if area.low > threshold:
        return "severe" if area.low > middle else "drift"
    return "not enough data" if area.high > middle else "ok"


def _changed(
    names: list[str], reference: NDArray[np.float64], current: NDArray[np.float64], worths: tuple[float, float]
) -> tuple[Association, ...]:
    """Return the pairs whose rank correlations surely differ, the largest difference first."""
    if len(names) < 2 or min(worths) <= 4:
        return ()
    before, after = _rank_correlations(reference), _rank_correlations(current)
    z = np.arctanh(np.clip(after, -0.999999, 0.999999)) - np.arctanh(np.clip(before, -0.999999, 0.999999))
    # Of Spearman's correlation (Fieller, Hartley and Pearson, 1957).
    error = np.sqrt(1.06 / (worths[0] - 3) + 1.06 / (worths[1] - 3))
    first, second = np.triu_indices(len(names), 1)
    apart = np.abs(z[first, second])
    order = np.argsort(-apart, kind="stable")[:NAMED]
    return tuple(
        Association(
            features=(names[first[at]], names[second[at]]),
            baseline=float(before[first[at], second[at]]),
            current=float(after[first[at], second[at]]),
        )
        for at in order
        if apart[at] > _SURE * error
    )


def _rank_correlations(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's correlations of the columns; a missing value has the middle rank."""
    ranks = np.zeros(matrix.shape)
    for at, column in enumerate(matrix.T):
        present = ~np.isnan(column)
        ordered = np.sort(column[present])
        middle = np.searchsorted(ordered, column[present], "left") + np.searchsorted(ordered, column[present], "right")
        ranks[present, at] = middle / 2 - len(ordered) / 2
    spread = np.sqrt(np.square(ranks).sum(axis=0))
    scaled = np.divide(ranks, spread, out=np.zeros(ranks.shape), where=spread > 0)
    correlations: NDArray[np.float64] = scaled.T @ scaled
    return correlations
