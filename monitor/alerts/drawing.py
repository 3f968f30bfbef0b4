"""Profiles -> the histograms that messages carry, to be drawn: baseline against now, over what people can read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import FeatureBins, Profile
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
    """Return the shares of the rows in a feature's bins or categories; see :func:`shares_of`."""
    bins = next(one for one in reference.bins.features if one.name == feature)
    return shares_of(bins, reference.cells(feature), current.cells(feature), rows=(reference.rows, current.rows))


def shares_of(
    bins: FeatureBins,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    *,
    rows: tuple[int, int],
    most: int = BARS,
) -> Histogram:
    """Return the shares of the rows in a feature's bins or categories; cells that are empty on both sides go.

    With more than ``most`` of them those with the largest shares stay, in order, and the others are one.

    Args:
        bins: the feature's.
        before: the baseline's rows in each cell, shape (cells,).
        after: the current ones.
        rows: how many of either there are.
        most: how many are told apart.
    """
    sides = [bins.readable(before) / rows[0], bins.readable(after) / rows[1]]
    together = sides[0] + sides[1]
    there = np.flatnonzero(together)
    shown = there
    if len(there) > most:
        largest = there[np.argsort(-together[there], kind="stable")[: most - 1]]
        shown = np.sort(largest)
    labels = [bins.labels[cell] for cell in shown]
    shares = [side[shown] for side in sides]
    if len(shown) < len(there):
        labels.append(_REST)
        rest = np.setdiff1d(there, shown)
        shares = [np.append(kept, side[rest].sum()) for kept, side in zip(shares, sides, strict=True)]
    first, second = (tuple(round(float(share), _DIGITS) for share in side) for side in shares)
    return Histogram(labels=tuple(labels), baseline=first, current=second)
