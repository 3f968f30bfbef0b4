"""Profiles -> the histograms that messages carry, to be drawn: baseline against now, over what people can read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from featurestore.profiles import Profile
from monitor.alerts.message import Histogram, column_of

#: The most bars of one feature.
BARS = 24
_REST = "all others"
_DIGITS = 6


def histograms_of(
    reference: Profile, current: Profile, features: Iterable[str], *, pii: frozenset[str]
) -> dict[str, Histogram]:
    """Return histograms by feature; those of fields tagged ``pii`` are left out, whose cells are values.

    Args:
        reference: the baseline.
        current: the rows that are judged, over the same bins.
        features: which.
        pii: fields whose values must not leave.
    """
    wanted = [one for one in features if column_of(one) not in pii]
    if not reference.rows or not current.rows:
        return {}
    return {one: histogram_of(reference, current, one) for one in wanted}


def histogram_of(reference: Profile, current: Profile, feature: str) -> Histogram:
    """Return the shares of the rows in a feature's bins or categories; cells that are empty on both sides go.

    With more than :data:`BARS` of them those with the largest shares stay, in order, and the others are one.
    """
    bins = next(one for one in reference.bins.features if one.name == feature)
    before = bins.readable(reference.cells(feature)) / reference.rows
    after = bins.readable(current.cells(feature)) / current.rows
    there = np.flatnonzero(before + after)
    shown = there
    if len(there) > BARS:
        largest = there[np.argsort(-(before + after)[there], kind="stable")[: BARS - 1]]
        shown = np.sort(largest)
    labels = [bins.labels[cell] for cell in shown]
    shares = [before[shown], after[shown]]
    if len(shown) < len(there):
        labels.append(_REST)
        rest = np.setdiff1d(there, shown)
        shares = [np.append(kept, side[rest].sum()) for kept, side in zip(shares, (before, after), strict=True)]
    first, second = (tuple(round(float(share), _DIGITS) for share in side) for side in shares)
    return Histogram(labels=tuple(labels), baseline=first, current=second)
