"""Joined rows -> the arrays that metrics are computed of: what was predicted, and what was true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions import Evaluation
from featurestore.errors import MonitorError

#: By how much the probabilities of a row may differ from 1 in all.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Predictions whose truth is known, in one of three forms.

    Attributes:
        task: ``binary``, ``multiclass`` or ``regression``.
        truth: of a binary task 0 or 1, of a multiclass one the place of the class, else the number; shape (rows,).
        predicted: the same, of what was predicted.
        scores: of a binary task the score of class 1, shape (rows,), of a multiclass one the probabilities, shape
            (rows, classes); None where a prediction has none.
        classes: the labels of a multiclass task, sorted.
        places: the row that each is of, among those that it was made from, shape (rows,); the others are not usable.
        scores_missing: why there are no scores, or why they are no probabilities; empty where they are.
    """

    task: str
    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    scores: NDArray[np.float64] | None
    classes: tuple[str, ...] = ()
    places: NDArray[np.int64]
    scores_missing: str = ""

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.truth)


def to_sample(rows: pa.Table, evaluation: Evaluation) -> Sample:
    """Return the rows that can be measured.

    Of a binary task the score is ``number``, or the probability of ``positive_label``; where there is none, the label
    alone says what was predicted. Outcomes are 0 or 1, or labels. Of a multiclass task classes are labels; a class that
    is a number is the label that it is written as.

    Args:
        rows: columns of :attr:`monitor.performance.joining.Joined.rows`.
        evaluation: what the model declares.

    Raises:
        MonitorError: the model declares no task.
    """
    if evaluation.task == "binary":
        return _binary(rows, evaluation)
    if evaluation.task == "multiclass":
        return _multiclass(rows)
    if evaluation.task == "regression":
        return _regression(rows)
    raise MonitorError(
        "The model declares no task, so its predictions cannot be measured.",
        hint='Declare it: log_model(..., task="binary"), or update_model(NAME, evaluation=Evaluation(task="binary")).',
    )


def _regression(rows: pa.Table) -> Sample:
    predicted, truth = _numbers(rows.column("number")), _numbers(rows.column("outcome_number"))
    kept = np.flatnonzero(np.isfinite(predicted) & np.isfinite(truth))
    return Sample(task="regression", truth=truth[kept], predicted=predicted[kept], scores=None, places=kept)


def _binary(rows: pa.Table, evaluation: Evaluation) -> Sample:
    positive = evaluation.positive_label
    truth = _numbers(rows.column("outcome_number"))
    truth = _or_label(truth, rows.column("outcome_label"), positive)
    truth[~np.isin(truth, (0.0, 1.0))] = np.nan
    if evaluation.missing_outcome == "negative":
        truth[rows.column("observed_at").is_null().to_numpy()] = 0.0
    scores = scores_in(rows, evaluation)
    predicted = np.where(np.isfinite(scores), (scores >= evaluation.decision_threshold).astype(np.float64), np.nan)
    # A label that was predicted is what the model decided, whatever the threshold.
    labels = _or_label(np.full(len(scores), np.nan), rows.column("label"), positive)
    predicted = np.where(np.isnan(labels), predicted, labels)
    kept = np.flatnonzero(np.isfinite(truth) & np.isfinite(predicted))
    scored = scores[kept]
    missing = ""
    if not np.isfinite(scored).all():
        missing = "some predictions are labels without a probability"
    elif ((scored < 0) | (scored > 1)).any():
        missing = "some scores do not lie between 0 and 1, so they are no probabilities"
    return Sample(
        task="binary",
        truth=truth[kept],
        predicted=predicted[kept],
        scores=scored if np.isfinite(scored).all() else None,
        places=kept,
        scores_missing=missing,
    )


def _multiclass(rows: pa.Table) -> Sample:
    truth = _texts(rows.column("outcome_number"), rows.column("outcome_label"))
    given = [None if one is None else dict(one) for one in rows.column("probabilities").to_pylist()]
    predicted = [
        # Of equal probabilities the first by name, so that the same rows give the same answer.
        min(likely, key=lambda label: (-likely[label], label)) if text is None and likely else text
        for text, likely in zip(_texts(rows.column("number"), rows.column("label")), given, strict=True)
    ]
    kept = [n for n, (one, other) in enumerate(zip(truth, predicted, strict=True)) if one and other]
    likely_labels = {label for n in kept for label in given[n] or ()}
    classes = sorted({str(truth[n]) for n in kept} | {str(predicted[n]) for n in kept} | likely_labels)
    place = {label: float(n) for n, label in enumerate(classes)}
    scores, missing = None, ""
    if any(not given[n] for n in kept):
        missing = "some predictions have no probabilities"
    elif kept:
        scores = np.array([[(given[n] or {}).get(label, 0.0) for label in classes] for n in kept], np.float64)
        if (np.abs(scores.sum(axis=1) - 1) > _SUM_TOLERANCE).any():
            missing = "the probabilities of some predictions do not add up to 1"
    return Sample(
        task="multiclass",
        truth=np.array([place[str(truth[n])] for n in kept], np.float64),
        predicted=np.array([place[str(predicted[n])] for n in kept], np.float64),
        scores=scores,
        classes=tuple(classes),
        places=np.array(kept, np.int64),
        scores_missing=missing,
    )


def scores_in(rows: pa.Table, evaluation: Evaluation) -> NDArray[np.float64]:
    """Return the score of each prediction of a binary model, shape (rows,); NaN where it has none.

    Args:
        rows: columns ``number`` and ``probabilities``.
        evaluation: what the model declares.
    """
    scores = _numbers(rows.column("number"))
    if not evaluation.positive_label:
        return scores
    return np.where(np.isfinite(scores), scores, _of_label(rows.column("probabilities"), evaluation.positive_label))


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = column.cast(pa.float64()).fill_null(np.nan).to_numpy().copy()
    return numbers


def _or_label(numbers: NDArray[np.float64], labels: pa.ChunkedArray, positive: str) -> NDArray[np.float64]:
    """Return 1 and 0 where there is a label, and a positive one is declared."""
    if not positive or labels.null_count == len(labels):
        return numbers
    has = labels.is_valid().to_numpy()
    is_positive = pc.fill_null(pc.equal(labels, positive), False).to_numpy()
    return np.where(has, is_positive.astype(np.float64), numbers)


def _of_label(column: pa.ChunkedArray, label: str) -> NDArray[np.float64]:
    """Return the probability of a label in each row's map; NaN where it is not in it."""
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    found = pc.map_lookup(column.cast(pa.map_(pa.string(), pa.float64())), pa.scalar(label), "first")
    return _numbers(found)


def _texts(numbers: pa.ChunkedArray, labels: pa.ChunkedArray) -> list[str | None]:
    return [
        label if label is not None else None if number is None else f"{number:.15g}"
        for number, label in zip(numbers.to_pylist(), labels.to_pylist(), strict=True)
    ]
