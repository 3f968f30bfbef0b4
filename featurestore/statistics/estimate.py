"""A number and its interval."""

from __future__ import annotations

from typing import NamedTuple


class Estimate(NamedTuple):
    """What a statistic returns.

    Attributes:
        value: the statistic of the two samples.
        low: lower end of the confidence interval for the statistic of what they are samples of.
        high: upper end.
    """

    value: float
    low: float
    high: float
