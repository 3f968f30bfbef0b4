"""The model's own baseline: how it did on validation predictions, or in a first serving period."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import MonitorError
from monitor.performance.histogram import Calibration
from monitor.performance.measuring import measure
from monitor.performance.risk import RiskLimit, fit_risk_limit
from monitor.performance.sample import Sample
from monitor.performance.scored import Metric

#: Of the absolute errors of a regression: what lies over this share of them counts as a loss of 1.
_LARGEST_LOSS = 0.99


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a model's performance is compared with. It holds counts and numbers, and no rows.

    Attributes:
        task: of the model.
        source: ``validation``, or the period that it comes from, as two instants.
        rows: predictions with outcomes.
        blocks: days among them; 0 where they are not known.
        metrics: by name.
        risk: the limit of the running risk.
        calibration: of a binary model whose scores are probabilities, what they mean.
    """

    task: str
    source: str
    rows: int
    blocks: int
    metrics: Mapping[str, Metric]
    risk: RiskLimit
    calibration: Calibration | None = None

    @property
    def rho(self) -> dict[str, float]:
        """By metric, how alike predictions of one day are; nothing where days are not known."""
        return (
            {name: one.rho for name, one in self.metrics.items() if one.estimate is not None} if self.blocks > 1 else {}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; :meth:`from_dict` reads them back exactly."""
        return {
            "task": self.task,
            "source": self.source,
            "rows": self.rows,
            "blocks": self.blocks,
            "metrics": {name: one.to_dict() for name, one in self.metrics.items()},
            "risk": asdict(self.risk),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reference:
        """Return the reference that :meth:`to_dict` came from."""
        calibration = values["calibration"]
        return cls(
            **{
                **values,
                "metrics": {name: Metric.from_dict(one) for name, one in values["metrics"].items()},
                "risk": RiskLimit(**values["risk"]),
                "calibration": None if calibration is None else Calibration.from_dict(calibration),
            }
        )


def fit_reference(
    sample: Sample,
    blocks: NDArray[np.int64] | None = None,
    *,
    source: str = "validation",
    threshold: float = 0.5,
    tolerance: float = 0.02,
    delta: float = 0.05,
    confidence: float = 0.95,
) -> Reference:
    """Return the reference that predictions with outcomes make.

    Args:
        sample: of the model when it was good: predictions on rows that it was not trained on.
        blocks: the day of each; without them rows count as independent.
        source: what it is.
        threshold: the model's ``decision_threshold``.
        tolerance: by how much more the running risk may grow: of an error rate in points, of a regression's absolute
            error in parts of the largest one that counts (that 1 of 100 exceeds here).
        delta: the chance that the source's risk exceeds its upper bound.
        confidence: of the intervals.

    Raises:
        MonitorError: no prediction has a known outcome.
    """
    if not sample.rows:
        raise MonitorError(
            "No prediction of the reference has a known outcome, so there is nothing to compare with.",
            hint="Give predictions together with what was true, or a period whose outcomes have come.",
        )
    if blocks is not None and len(np.unique(blocks)) < 2:
        blocks = None
    unit = 1.0
    if sample.task == "regression":
        errors = np.abs(sample.predicted - sample.truth)
        # A model without an error, so far: each one counts in full.
        unit = float(np.quantile(errors, _LARGEST_LOSS)) or float(errors.max()) or math.ulp(0.0)
    calibration = None
    if sample.task == "binary" and sample.scores is not None and not sample.scores_missing:
        calibration = Calibration.fit(sample.scores, sample.truth, threshold=threshold)
    return Reference(
        task=sample.task,
        source=source,
        rows=sample.rows,
        blocks=0 if blocks is None else len(np.unique(blocks)),
        metrics=measure(sample, blocks=blocks, confidence=confidence),
        risk=fit_risk_limit(
            losses_of(sample, unit),
            blocks,
            loss="absolute error" if sample.task == "regression" else "error",
            unit=unit,
            tolerance=tolerance,
            delta=delta,
        ),
        calibration=calibration,
    )


def losses_of(sample: Sample, unit: float = 1.0) -> NDArray[np.float64]:
    """Return the loss of each prediction, from 0 to 1: whether it is wrong, or its absolute error in units."""
    if sample.task == "regression":
        # A subnormal unit makes infinity of the quotient, which is at most 1, too.
        with np.errstate(over="ignore"):
            losses: NDArray[np.float64] = np.minimum(1.0, np.abs(sample.predicted - sample.truth) / unit)
        return losses
    wrong: NDArray[np.bool_] = sample.predicted != sample.truth
    return wrong.astype(np.float64)
