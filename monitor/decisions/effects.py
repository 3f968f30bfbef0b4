"""How far a feature is from where it was: every effect that suits it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import FeatureBins, Profile
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from featurestore.statistics.numeric_cells import NumericCells
from featurestore.statistics.rate_difference import rate_difference
from featurestore.statistics.total_variation import total_variation
from featurestore.statistics.wasserstein import wasserstein
from monitor.decisions.finding import Statistic


def effects_of(
    one: FeatureBins, reference: Profile, current: Profile, *, reference_worth: float, current_worth: float
) -> dict[Statistic, Estimate]:
    """Return each effect with its interval; rates are of all rows, and the size of their change counts.

    All lie between 0 and 1 but the Wasserstein distance, which is in standard deviations of the reference.

    Args:
        one: the feature's bins.
        reference: the baseline.
        current: the rows that are judged.
        reference_worth: how many independent rows one of the reference is worth.
        current_worth: the same of the current rows.
    """
    before, after = reference.cells(one.name), current.cells(one.name)
    worths = {"reference_worth": reference_worth, "current_worth": current_worth}
    effects: dict[Statistic, Estimate] = {}
    if one.kind != "opaque":
        values = slice(0, one.values)
        m, n = float(before[values].sum()) * reference_worth, float(after[values].sum()) * current_worth
        if one.kind == "numeric":
            effects["kolmogorov_smirnov"] = kolmogorov_smirnov(
                before[values], after[values], reference_size=m, current_size=n
            )
            effects["wasserstein"] = wasserstein(
                NumericCells.of(reference, one.name),
                NumericCells.of(current, one.name),
                one.cuts,
                deviation=_deviation(reference, one.name),
                reference_size=m,
                current_size=n,
            )
        else:
            effects["total_variation"] = total_variation(
                before[values], after[values], reference_size=m, current_size=n
            )
    for statistic, cells in rate_cells(one, reference).items():
        effects[statistic] = _change(before, after, cells, **worths)
    return effects


def _deviation(profile: Profile, feature: str) -> float:
    """Return the standard deviation of a profile's finite numbers; 0 when it has fewer than two."""
    at = profile.bins.positions[feature]
    return math.sqrt(float(profile.squares[at]) / max(1, int(profile.finite[at]) - 1))


def rate_cells(one: FeatureBins, reference: Profile) -> dict[Statistic, list[int]]:
    """Return the cells of each rate that suits the feature."""
    cells: dict[Statistic, list[int]] = {}
    if one.kind == "numeric":
        cells["nan_rate"] = [one.cells - 2]
    cells["null_rate"] = [one.cells - 1]
    if one.kind == "categorical" and one.complete:
        cells["unseen_rate"] = [one.values - 1]
    if one.kind == "numeric" and one.cuts:
        beyond = [one.values - 1]
        # Where no float lies under the minimum, the first cell holds values of the reference.
        if one.cuts[0] < reference.minimum[reference.bins.positions[one.name]]:
            beyond.insert(0, 0)
        cells["out_of_range_rate"] = beyond
    return cells


def grown(one: FeatureBins, reference: Profile, current: Profile, statistic: Statistic) -> int:
    """Return 1 when a rate is higher than it was, -1 when it is lower, and 0 when it is neither or no rate."""
    cells = rate_cells(one, reference).get(statistic)
    if cells is None or not reference.rows or not current.rows:
        return 0
    before, after = reference.cells(one.name)[cells].sum(), current.cells(one.name)[cells].sum()
    # Python's integers: a product of counts need not fit into 64 bits.
    change = int(after) * reference.rows - int(before) * current.rows
    return (change > 0) - (change < 0)


def _change(
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    cells: list[int],
    *,
    reference_worth: float,
    current_worth: float,
) -> Estimate:
    """Return the size of the difference of a rate, whatever its sign."""
    m, n = int(before.sum()), int(after.sum())
    value, low, high = rate_difference(
        float(before[cells].sum()) / max(1, m),
        float(after[cells].sum()) / max(1, n),
        reference_size=m * reference_worth,
        current_size=n * current_worth,
    )
    sizes = (abs(low), abs(high))
    return Estimate(abs(value), 0.0 if low <= 0 <= high else min(sizes), max(sizes))
