"""How far features are from where they were: every effect that suits each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import Profile
from featurestore.statistics.estimate import Estimate, Estimates
from featurestore.statistics.kolmogorov_smirnov import kolmogorov_smirnov_distances
from featurestore.statistics.numeric_cells import NumericCells
from featurestore.statistics.rate_difference import rate_differences
from featurestore.statistics.total_variation import total_variations
from featurestore.statistics.wasserstein import wasserstein
from monitor.decisions.finding import Direction, Statistic
from monitor.decisions.movement import constant_now, directions_of
from monitor.decisions.stacking import Stack, stacks_of


@dataclass(frozen=True, slots=True)
class Measured:
    """How far one feature is from where it was.

    Attributes:
        effects: each with its interval; rates are of all rows, and the size of their change counts. All lie between 0
            and 1 but the Wasserstein distance, which is in standard deviations of the reference.
        grown: of each rate 1 when it is higher than it was, -1 when it is lower, and 0 when it is neither.
        direction: where its numbers have gone; "" where it has none, or they have not.
        constant: whether it had several values, and has a single one in all current rows that have any.
    """

    effects: dict[Statistic, Estimate]
    grown: dict[Statistic, int]
    direction: Direction
    constant: bool


@dataclass(frozen=True, slots=True)
class _Rate:
    """A rate of each feature of a stack; ``has`` says which of them have it."""

    effects: list[Estimate]
    grown: list[int]
    has: list[bool]


def measured(
    reference: Profile,
    current: Profile,
    *,
    reference_worth: NDArray[np.float64],
    current_worth: NDArray[np.float64],
    chosen: Mapping[str, Statistic],
) -> list[Measured]:
    """Return what became of each feature, in the order of the bins.

    Args:
        reference: the baseline.
        current: the rows that are judged, over the same bins.
        reference_worth: how many independent rows one of the reference is worth, by feature, shape (features,).
        current_worth: the same of the current rows.
        chosen: the one effect by which a feature is judged, where it is a certain one. The Wasserstein distance costs
            more than all others together, and is computed for those features of which it is asked.
    """
    found: dict[int, Measured] = {}
    for stack in stacks_of(reference, current):
        here = _stacked(stack, reference, current, reference_worth[stack.places], current_worth[stack.places], chosen)
        found.update(zip(stack.places.tolist(), here, strict=True))
    return [found[place] for place in range(len(found))]


def _stacked(
    stack: Stack,
    reference: Profile,
    current: Profile,
    reference_worth: NDArray[np.float64],
    current_worth: NDArray[np.float64],
    chosen: Mapping[str, Statistic],
) -> list[Measured]:
    effects: list[dict[Statistic, Estimate]] = [{} for _ in stack.features]
    grown: list[dict[Statistic, int]] = [{} for _ in stack.features]
    if stack.kind != "opaque":
        before, after = stack.before[:, : stack.values], stack.after[:, : stack.values]
        m, n = before.sum(axis=1) * reference_worth, after.sum(axis=1) * current_worth
        distances = kolmogorov_smirnov_distances if stack.kind == "numeric" else total_variations
        name: Statistic = "kolmogorov_smirnov" if stack.kind == "numeric" else "total_variation"
        for at, effect in enumerate(distances(before, after, reference_sizes=m, current_sizes=n).each()):
            effects[at][name] = effect
            one = stack.features[at]
            if stack.kind == "numeric" and chosen.get(one.name) == "wasserstein":
                effects[at]["wasserstein"] = wasserstein(
                    NumericCells.of(reference, one.name),
                    NumericCells.of(current, one.name),
                    one.cuts,
                    deviation=_deviation(reference, one.name),
                    reference_size=float(m[at]),
                    current_size=float(n[at]),
                )
    for statistic, rate in _rates(stack, reference, current, reference_worth, current_worth).items():
        for at, has in enumerate(rate.has):
            if has:
                effects[at][statistic] = rate.effects[at]
                grown[at][statistic] = rate.grown[at]
    directions, constant = directions_of(stack), constant_now(stack, reference, current)
    return [Measured(*one) for one in zip(effects, grown, directions, constant, strict=True)]


def _deviation(profile: Profile, feature: str) -> float:
    """Return the standard deviation of a profile's finite numbers; 0 when it has fewer than two."""
    at = profile.bins.positions[feature]
    return math.sqrt(float(profile.squares[at]) / max(1, int(profile.finite[at]) - 1))


def _rates(
    stack: Stack,
    reference: Profile,
    current: Profile,
    reference_worth: NDArray[np.float64],
    current_worth: NDArray[np.float64],
) -> dict[Statistic, _Rate]:
    """Return the rates that suit a stack's features, in the order in which they are asked for."""
    m, n = stack.before.sum(axis=1), stack.after.sum(axis=1)
    every = [True] * len(stack.features)

    def rate(before: NDArray[np.int64], after: NDArray[np.int64], has: list[bool] = every) -> _Rate:
        value, low, high = rate_differences(
            before / np.maximum(1, m),
            after / np.maximum(1, n),
            reference_sizes=m * reference_worth,
            current_sizes=n * current_worth,
        )
        least, most = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
        sizes = Estimates(np.abs(value), np.where((low <= 0) & (high >= 0), 0.0, least), most)
        # Python's integers: a product of counts need not fit into 64 bits.
        pairs = zip(before.tolist(), after.tolist(), strict=True)
        ways = [_sign(there * reference.rows - here * current.rows) for here, there in pairs]
        return _Rate(sizes.each(), ways if reference.rows and current.rows else [0] * len(ways), has)

    rates: dict[Statistic, _Rate] = {}
    if stack.kind == "numeric":
        rates["nan_rate"] = rate(stack.before[:, -2], stack.after[:, -2])
    rates["null_rate"] = rate(stack.before[:, -1], stack.after[:, -1])
    last = stack.values - 1
    if stack.kind == "categorical":
        complete = [one.complete for one in stack.features]
        rates["unseen_rate"] = rate(stack.before[:, last], stack.after[:, last], complete)
    if stack.kind == "numeric" and last:
        # Where no float lies under the minimum, the first cell holds values of the reference.
        least = reference.minimum[stack.places]
        below = np.array([one.cuts[0] < low for one, low in zip(stack.features, least, strict=True)])
        before, after = (side[:, last] + np.where(below, side[:, 0], 0) for side in (stack.before, stack.after))
        rates["out_of_range_rate"] = rate(before, after)
    return rates


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
