"""RMSE, MAE, mean error and R2: each with rows' influences."""

from __future__ import annotations

import numpy as np

from monitor.performance.classification import mean
from monitor.performance.sample import Sample
from monitor.performance.scored import Scored

#: Of outcomes, in parts of the largest outcome or error, below which what is explained of it is rounding.
_LEAST_SPREAD = 1e-9


def regression(sample: Sample) -> dict[str, Scored | str]:
    """Return by name each metric of a regression's sample with rows, or why it is not defined.

    Errors are what was predicted less what was true, so a positive ``bias`` is too high a prediction.
    """
    errors = sample.predicted - sample.truth
    # In units of the largest one, so that the square of a number that can be held can be held, too.
    unit = float(np.abs(errors).max()) or 1.0
    squares = np.square(errors / unit)
    root = float(np.sqrt(squares.mean()))
    found: dict[str, Scored | str] = {
        "rmse": Scored(
            name="rmse",
            value=root * unit,
            influence=(squares - squares.mean()) / (2 * root) * unit if root else np.zeros(sample.rows),
            form="root",
            low=0.0,
        ),
        "mae": mean("mae", np.abs(errors), low=0.0),
        "bias": mean("bias", errors),
    }
    off = sample.truth - sample.truth.mean()
    unit = float(np.abs(off).max())
    if not unit > _LEAST_SPREAD * max(float(np.abs(errors).max()), float(np.abs(sample.truth).max())):
        return found | {"r2": "all outcomes are the same number, or nearly"}
    squares, spread = np.square(errors / unit), np.square(off / unit)
    total = float(spread.mean())
    left = float(squares.mean()) / total
    return found | {"r2": Scored(name="r2", value=1 - left, influence=(left * spread - squares) / total, high=1.0)}
