"""A sample -> its metrics with intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from monitor.performance.classification import classification
from monitor.performance.regression import regression
from monitor.performance.sample import Sample
from monitor.performance.scored import Metric, Scored, with_interval

CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error")
REGRESSION = ("rmse", "mae", "bias", "r2")


def metrics_of(task: str) -> tuple[str, ...]:
    """Return the names of a task's metrics."""
    return REGRESSION if task == "regression" else CLASSIFICATION


def scores_of(sample: Sample) -> Mapping[str, Scored | str]:
    """Return by name each metric of a sample without its interval, or why it is not defined."""
    if not sample.rows:
        return dict.fromkeys(metrics_of(sample.task), "no prediction has a known outcome")
    return regression(sample) if sample.task == "regression" else classification(sample)


def measure(
    sample: Sample,
    *,
    confidence: float = 0.95,
    blocks: NDArray[np.int64] | None = None,
    rho: Mapping[str, float] | None = None,
    rows_per_block: float = 0.0,
) -> dict[str, Metric]:
    """Return by name each metric of a sample, with its interval.

    Args:
        sample: predictions whose truth is known.
        confidence: of each interval by itself.
        blocks: the block of each row, such as its day: the design effect is measured over them.
        rho: by metric, how alike rows of one block are, measured elsewhere; ``blocks`` are not needed for these.
        rows_per_block: with ``rho``, rows of this kind that one block brings.
    """
    found = {}
    for name, scored in scores_of(sample).items():
        if isinstance(scored, str):
            found[name] = Metric(name=name, estimate=None, rows=sample.rows, reason=scored)
            continue
        known = None if rho is None else rho.get(name)
        found[name] = with_interval(
            scored,
            confidence=confidence,
            blocks=blocks if known is None else None,
            rho=known,
            rows_per_block=rows_per_block,
        )
    return found
