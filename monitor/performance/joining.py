"""Predictions and outcomes, joined by the prediction's id once the model's label delay is over."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions import Evaluation
from featurestore.types import microseconds

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many predictions a metric is of, and what became of the others.

    The counts add up: ``predictions = immature + matured``, ``matured = with_outcome + assumed_negative + missing``,
    and ``outcomes = with_outcome + early_outcomes + outcomes_elsewhere + outcomes_without_prediction``.

    Attributes:
        predictions: each once.
        immature: of these, whose label delay is not over.
        matured: of these, whose label delay is over.
        with_outcome: matured ones whose outcome is known.
        assumed_negative: matured ones without an outcome, which the model declares to mean "negative".
        missing: matured ones without an outcome, which nothing is known of.
        unusable: of those with an outcome, that cannot be measured: a label where a number is needed, a score that is
            not finite.
        late_outcomes: of ``with_outcome``, outcomes that were observed after the label delay: it is declared too short.
        outcomes_before_prediction: of ``with_outcome``, outcomes that were observed before the prediction was made.
        repeated_predictions: that have the id of an earlier one, and count for nothing.
        outcomes: each once, of this metric.
        early_outcomes: of predictions that are not matured yet.
        outcomes_elsewhere: of predictions of another time or another version of the model.
        outcomes_without_prediction: whose id nothing was predicted under.
        repeated_outcomes: that a later one replaces.
    """

    predictions: int = 0
    immature: int = 0
    matured: int = 0
    with_outcome: int = 0
    assumed_negative: int = 0
    missing: int = 0
    unusable: int = 0
    late_outcomes: int = 0
    outcomes_before_prediction: int = 0
    repeated_predictions: int = 0
    outcomes: int = 0
    early_outcomes: int = 0
    outcomes_elsewhere: int = 0
    outcomes_without_prediction: int = 0
    repeated_outcomes: int = 0

    @property
    def used(self) -> int:
        """Predictions that metrics are of."""
        return self.with_outcome + self.assumed_negative - self.unusable

    @property
    def share(self) -> float:
        """The share of matured predictions whose outcome is known, or declared; 0 where none is matured."""
        return (self.with_outcome + self.assumed_negative) / self.matured if self.matured else 0.0

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Matured predictions with what came of them.

    Attributes:
        rows: columns ``prediction_id``, ``predicted_at``, ``number``, ``label``, ``probabilities`` of the prediction,
            ``outcome_number``, ``outcome_label`` and ``observed_at`` (null where there is no outcome), in the order of
            the predictions' instants.
        immature: the others, with the columns of the prediction alone.
        coverage: of all that was given.
    """

    rows: pa.Table
    immature: pa.Table
    coverage: Coverage


def join_outcomes(
    predictions: pa.Table,
    outcomes: pa.Table,
    evaluation: Evaluation,
    *,
    watermark: datetime,
    metric: str = "",
    elsewhere: pa.Array | None = None,
) -> Joined:
    """Join predictions with their outcomes.

    A prediction is matured, and counts, when ``predicted_at + label_delay <= watermark``: whether its outcome has come
    already decides nothing, as early outcomes are not like the others. Outcomes that were observed at the watermark or
    later are not known yet.

    Args:
        predictions: columns of :data:`featurestore.serving.feedback.PREDICTIONS`; of one id the first that arrived
            counts.
        outcomes: columns of :data:`featurestore.serving.feedback.OUTCOMES`; of one prediction and metric the one
            observed last, then the one that arrived last counts.
        evaluation: what the model declares.
        watermark: before which everything is known.
        metric: whose outcomes; empty for what the model predicts.
        elsewhere: ids of outcomes whose prediction exists, but is not among these.
    """
    made, repeated = _once(predictions, ["logged_at"], last=False)
    of_metric = outcomes.filter(pc.equal(outcomes.column("metric"), metric))
    known = of_metric.filter(pc.less(of_metric.column("observed_at"), watermark))
    found, replaced = _once(known, ["observed_at", "logged_at"], last=True)
    made = made.sort_by([("predicted_at", "ascending"), ("prediction_id", "ascending")])

    at = pc.index_in(made.column("prediction_id"), value_set=found.column("prediction_id").combine_chunks())
    at = at.combine_chunks()
    rows = pa.table(
        {name: made.column(name) for name in ("prediction_id", "predicted_at", "number", "label", "probabilities")}
        | {f"outcome_{name}": found.column(name).take(at) for name in ("number", "label")}
        | {"observed_at": found.column("observed_at").take(at)}
    )
    matured = _instants(made.column("predicted_at")) + _delay(evaluation) <= microseconds(watermark)
    without = found.column("prediction_id").filter(
        pc.invert(pc.is_in(found.column("prediction_id"), value_set=made.column("prediction_id").combine_chunks()))
    )
    other = 0 if elsewhere is None else pc.sum(pc.is_in(without, value_set=elsewhere)).as_py() or 0
    immature = made.select(rows.column_names[:5]).filter(pa.array(~matured))
    rows = rows.filter(pa.array(matured))
    coverage = replace(
        coverage_of(rows, evaluation),
        predictions=made.num_rows,
        immature=int((~matured).sum()),
        repeated_predictions=repeated,
        outcomes=found.num_rows,
        early_outcomes=int((~matured & at.is_valid().to_numpy(zero_copy_only=False)).sum()),
        outcomes_elsewhere=other,
        outcomes_without_prediction=len(without) - other,
        repeated_outcomes=replaced,
    )
    return Joined(rows=rows, immature=immature, coverage=coverage)


def coverage_of(rows: pa.Table, evaluation: Evaluation) -> Coverage:
    """Return the coverage of some of :attr:`Joined.rows`, without ``unusable``, which is found later."""
    predicted, observed = (_instants(rows.column(name)) for name in ("predicted_at", "observed_at"))
    has = rows.column("observed_at").is_valid().to_numpy()
    without = rows.num_rows - int(has.sum())
    negative = evaluation.missing_outcome == "negative"
    return Coverage(
        predictions=rows.num_rows,
        matured=rows.num_rows,
        with_outcome=rows.num_rows - without,
        assumed_negative=without if negative else 0,
        missing=0 if negative else without,
        # A model that waits for nothing says nothing about how long outcomes take.
        late_outcomes=int((has & (observed > predicted + _delay(evaluation))).sum()) if evaluation.label_delay else 0,
        outcomes_before_prediction=int((has & (observed < predicted)).sum()),
        outcomes=rows.num_rows - without,
    )


def _delay(evaluation: Evaluation) -> int:
    return evaluation.label_delay // _MICROSECOND


def _once(rows: pa.Table, order: list[str], *, last: bool) -> tuple[pa.Table, int]:
    """Return of the rows with one id the first by an order, or the last; and how many others there were."""
    if not rows.num_rows:
        return rows, 0
    # Arrow's sort is stable, so rows that are equal in the order stay as they came.
    ordered = rows.sort_by([(name, "ascending") for name in ("prediction_id", *order)])
    ids = ordered.column("prediction_id")
    same = pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy()
    kept = np.append(~same, True) if last else np.append(True, ~same)
    return ordered.filter(pa.array(kept)), int(same.sum())


def _instants(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return microseconds since 1970; 0 where there is none."""
    instants: NDArray[np.int64] = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(0).to_numpy()
    return instants
