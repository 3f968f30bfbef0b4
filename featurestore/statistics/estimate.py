"""A number and its interval."""

from __future__ import annotations

from itertools import starmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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


class Estimates(NamedTuple):
    """What a statistic returns of many pairs of samples at once; each array has one value for each pair.

    Attributes:
        value: see :class:`Estimate`.
        low: the same.
        high: the same.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def each(self) -> list[Estimate]:
        """Return them one by one."""
        return list(starmap(Estimate, zip(self.value.tolist(), self.low.tolist(), self.high.tolist(), strict=True)))
