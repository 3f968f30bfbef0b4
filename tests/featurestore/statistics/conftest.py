"""What tests of several statistics draw and count."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from featurestore.statistics.estimate import Estimate


@pytest.fixture
def normal_cells() -> Callable[..., tuple[NDArray[np.float64], list[NDArray[np.float64]]]]:
    """Return cuts, and the shares of two normal distributions in the cells between them."""

    def cells(
        mean: float, deviation: float = 1.0, count: int = 4_000, reach: float = 8.0
    ) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        half = abs(mean) + reach * max(deviation, 1.0)
        cuts = np.linspace(-half, half, count + 1)
        edges = np.concatenate([[-np.inf], cuts, [np.inf]])
        return cuts, [np.diff(ndtr(edges)), np.diff(ndtr((edges - mean) / deviation))]

    return cells


@pytest.fixture
def covered() -> Callable[..., float]:
    """Return the share of intervals of independent draws that hold the truth."""

    def share(truth: float, draw: Callable[[np.random.Generator], Estimate], repeats: int = 300) -> float:
        rng = np.random.default_rng(11)
        estimates = [draw(rng) for _ in range(repeats)]
        return sum(one.low - 1e-12 <= truth <= one.high + 1e-12 for one in estimates) / repeats

    return share
