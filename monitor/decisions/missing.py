"""Values that are missing where none ever was: a fact about the rows, and no matter of chance.

A day's rows resemble each other, so what one day shows is worth little about days in general, however many rows it has:
a detector that keeps a budget of false alarms waits for the next day. That is right where a feature may move by itself.
Where no value was missing in all of the baseline, and a large share is now, nothing has to be inferred about other days:
these rows are without it, and whoever sees to the source should know in the first window.
"""

from __future__ import annotations

from featurestore.profiles import FeatureBins, Profile
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.exact_rate import exact_rate
from monitor.decisions.effects import rate_cells
from monitor.decisions.finding import Statistic
from monitor.decisions.showing import Thresholds

#: Rows without a missing value after which it may be said that there never was one.
NEVER = 1_000

#: The fewest rows of which a share is told.
LEAST_ROWS = 30

#: The chance that the share is not so large among rows like these.
_TAIL = 1e-6

_MISSING: tuple[Statistic, ...] = ("null_rate", "nan_rate")


def newly_missing(
    one: FeatureBins, reference: Profile, current: Profile, thresholds: Thresholds
) -> tuple[Statistic, Estimate] | None:
    """Return the rate of missing values where that is news and surely over its threshold; None elsewhere.

    Args:
        one: the feature's bins.
        reference: the baseline.
        current: the rows that are judged.
        thresholds: the policy's.

    Returns:
        The rate, and its exact interval (Clopper and Pearson) among rows like these, one in a million on each side.
    """
    if reference.rows < NEVER or current.rows < LEAST_ROWS:
        return None
    before, after = reference.cells(one.name), current.cells(one.name)
    found: list[tuple[Statistic, Estimate]] = []
    for statistic, cells in rate_cells(one, reference).items():
        if statistic not in _MISSING or before[cells].sum():
            continue
        rate = float(after[cells].sum()) / current.rows
        low, high = (float(end) for end in exact_rate(rate, current.rows, _TAIL))
        if low > thresholds.of(one.name, statistic):
            found.append((statistic, Estimate(rate, low, high)))
    return max(found, key=lambda each: each[1].low, default=None)
