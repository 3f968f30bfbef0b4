"""Values that are missing where none ever was: a fact about the rows, and no matter of chance.

A day's rows resemble each other, so what one day shows is worth little about days in general, however many rows it has:
a detector that keeps a budget of false alarms waits for the next day. That is right where a feature may move by
itself. Where no value was missing in all of the baseline, and a large share is now, nothing has to be inferred about
other days: these rows are without it, and whoever sees to the source should know in the first window.
"""

from __future__ import annotations

import numpy as np

from featurestore.profiles import Profile
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.exact_rate import exact_rate
from monitor.decisions.finding import Statistic
from monitor.decisions.showing import Thresholds

#: Rows without a missing value after which it may be said that there never was one.
NEVER = 1_000

#: The fewest rows of which a share is told.
LEAST_ROWS = 30

#: The chance that the share is not so large among rows like these.
_TAIL = 1e-6

#: By how far from a feature's last cell its rows are counted.
_MISSING: tuple[tuple[Statistic, int], ...] = (("nan_rate", 1), ("null_rate", 0))


def newly_missing(
    reference: Profile, current: Profile, thresholds: Thresholds
) -> dict[str, tuple[Statistic, Estimate]]:
    """Return the features of which values are missing where none ever was, surely more than their threshold.

    Args:
        reference: the baseline.
        current: the rows that are judged, over the same bins.
        thresholds: the policy's.

    Returns:
        By feature the rate, and its exact interval (Clopper and Pearson) among rows like these, one in a million on
        each side; of nulls and NaN that which is surer.
    """
    found: dict[str, tuple[Statistic, Estimate]] = {}
    if reference.rows < NEVER or current.rows < LEAST_ROWS:
        return found
    features = reference.bins.features
    numeric = np.array([one.kind == "numeric" for one in features], bool)
    last = np.cumsum(reference.bins.widths) - 1
    for statistic, back in _MISSING:
        cells = last - back
        news = (reference.counts[cells] == 0) & (current.counts[cells] > 0)
        places = np.flatnonzero(news & numeric if back else news)
        rates = current.counts[cells[places]] / current.rows
        low, high = exact_rate(rates, current.rows, _TAIL)
        told = zip(places.tolist(), rates.tolist(), low.tolist(), high.tolist(), strict=True)
        for place, rate, least, most in told:
            name = features[place].name
            if least > thresholds.of(name, statistic) and (name not in found or least > found[name][1].low):
                found[name] = (statistic, Estimate(rate, least, most))
    return found
