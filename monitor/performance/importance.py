"""Permutation importance: how much worse a model gets when one feature is shuffled, with an interval."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import Evaluation
from featurestore.errors import MonitorError, closest
from featurestore.statistics.estimate import Estimate
from monitor.performance.measuring import metrics_of, scores_of
from monitor.performance.sample import Sample
from monitor.performance.scored import HIGHER_IS_BETTER, Metric, Scored, with_interval

Frame = Literal["arrow", "polars", "numpy"]


@dataclass(frozen=True, kw_only=True)
class Importances:
    """How much each feature matters to a model.

    Attributes:
        metric: that was measured.
        baseline: the metric on the rows as they are.
        features: by name, how much worse the metric is when the feature is shuffled, in its unit; the most important
            one first.
        rows: of the dataset.
        repeats: shuffles of each feature.
    """

    metric: str
    baseline: Metric
    features: Mapping[str, Estimate]
    rows: int
    repeats: int

    @property
    def values(self) -> dict[str, float]:
        """Importance by feature, as a model's record takes it."""
        return {name: one.value for name, one in self.features.items()}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The two ends by feature, as a model's record takes them; without those that are not known."""
        return {
            name: (one.low, one.high)
            for name, one in self.features.items()
            if math.isfinite(one.low) and math.isfinite(one.high)
        }


def feature_importance(
    predict: Callable[[Any], Any],
    dataset: Any,
    *,
    target: str,
    evaluation: Evaluation,
    features: Sequence[str] | None = None,
    metric: str = "",
    repeats: int = 5,
    seed: int = 0,
    confidence: float = 0.95,
    blocks: NDArray[np.int64] | None = None,
    frame: Frame = "polars",
) -> Importances:
    """Return how much worse a model predicts when the values of one feature are dealt to other rows (Breiman 2001).

    The interval is that of the paired difference: what each row adds to the metric after a shuffle, in the mean of all
    shuffles, less what it added before; to each row also counts what its value does where it is dealt to, as the
    number is one of pairs of rows (Fisher, Rudin and Dominici 2019: model reliance is a U-statistic). It covers the
    rows that happen to be in the dataset, and the chance of the shuffles. Two features that say the
    same both seem to matter little: the model has the other one left.

    The same seed gives the same shuffles of a feature, whichever others are asked for.

    Args:
        predict: takes the rows without the target and gives a prediction for each: of a binary task scores or 0 and 1,
            of a multiclass one labels or probabilities of shape (rows, classes) in the order of sorted labels, of a
            regression numbers. Of two probabilities a row the second one is that of class 1.
        dataset: an Arrow table, a Polars frame, or what has ``to_arrow()``, such as a training dataset. Take rows that
            the model was not trained on.
        target: the column with what is true.
        evaluation: the model's: ``task``, ``positive_label``, ``decision_threshold``.
        features: that are shuffled; all columns but the target if not given.
        metric: ``roc_auc`` of a binary task if not given, ``accuracy`` of a multiclass one, ``rmse`` of a regression.
        repeats: shuffles of each feature.
        seed: of the shuffles.
        confidence: of each interval by itself.
        blocks: the block of each row, such as its day.
        frame: what ``predict`` takes; ``numpy`` is an array of shape (rows, columns) of float64.

    Raises:
        MonitorError: a column or the metric does not exist, there are no rows, or ``predict`` gives something else.
    """
    table = dataset if isinstance(dataset, pa.Table) else dataset.to_arrow()
    if target not in table.column_names:
        raise MonitorError(f'The dataset has no column "{target}".', hint=closest(target, table.column_names))
    truth, inputs = table.column(target), table.drop_columns([target])
    names = list(inputs.column_names if features is None else features)
    for name in names:
        if name not in inputs.column_names:
            raise MonitorError(f'The dataset has no feature "{name}".', hint=closest(name, inputs.column_names))
    metric = metric or {"binary": "roc_auc", "multiclass": "accuracy"}.get(evaluation.task, "rmse")
    if metric not in metrics_of(evaluation.task) or HIGHER_IS_BETTER[metric] is None:
        known = [one for one in metrics_of(evaluation.task) if HIGHER_IS_BETTER[one] is not None]
        raise MonitorError(
            f'A {evaluation.task} model has no metric "{metric}" to rank by.', hint=closest(metric, known)
        )
    if repeats < 1 or not table.num_rows:
        raise MonitorError(
            f"{table.num_rows:,} rows and {repeats} shuffles give no importance.", hint="Give one of each, at least."
        )
    asked = _Asked(predict, frame, evaluation, _truth(truth, evaluation), metric)
    before = asked.scored(inputs)
    found = {}
    for name in names:
        place = inputs.column_names.index(name)
        shuffles = []
        for number in range(repeats):
            # The name and the number of the shuffle decide, not how many features came before.
            random = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
            givers = random.permutation(inputs.num_rows)
            dealt = inputs.set_column(place, inputs.field(place), inputs.column(place).take(pa.array(givers)))
            shuffles.append((givers, asked.scored(dealt)))
        found[name] = _worse(before, shuffles, confidence, blocks)
    ranked = dict(sorted(found.items(), key=lambda item: (-item[1].value, item[0])))
    return Importances(
        metric=metric,
        baseline=with_interval(before, confidence=confidence, blocks=blocks),
        features=ranked,
        rows=table.num_rows,
        repeats=repeats,
    )


def _worse(
    before: Scored,
    shuffles: list[tuple[NDArray[np.int64], Scored]],
    confidence: float,
    blocks: NDArray[np.int64] | None,
) -> Estimate:
    sign = 1 if HIGHER_IS_BETTER[before.name] else -1
    value = sign * float(np.mean([before.value - after.value for _, after in shuffles]))
    influence = np.zeros(len(before.influence))
    for givers, after in shuffles:
        # A row counts twice: for what it was dealt, and for what became of the row that its own value was dealt to.
        change = sign * (before.influence - after.influence) / len(shuffles)
        influence += change
        influence[givers] += change
    paired = replace(before, value=value, influence=influence, form="mean", low=-math.inf, high=math.inf)
    estimate = with_interval(paired, confidence=confidence, blocks=blocks).estimate
    assert estimate is not None  # noqa: S101 - it was made of a value
    return estimate


def _truth(column: pa.ChunkedArray, evaluation: Evaluation) -> NDArray[Any]:
    """Return what is true as a sample has it, or texts of a multiclass task."""
    if column.null_count:
        raise MonitorError(
            f"{column.null_count:,} rows of the dataset have no target.", hint="Leave them out: they say nothing."
        )
    if evaluation.task == "multiclass":
        return np.array([_label(one) for one in column.to_pylist()])
    if evaluation.task == "binary" and evaluation.positive_label and pa.types.is_string(column.type):
        return np.array([one == evaluation.positive_label for one in column.to_pylist()], np.float64)
    try:
        numbers: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException:
        raise MonitorError(
            f"The target is {column.type}, and a {evaluation.task} model needs numbers.",
            hint="Declare positive_label where classes are labels.",
        ) from None
    if not np.isfinite(numbers).all() or (evaluation.task == "binary" and not np.isin(numbers, (0.0, 1.0)).all()):
        raise MonitorError(
            f"The target of a {evaluation.task} model has a value that cannot be one.",
            hint="Give 0 and 1, or declare positive_label." if evaluation.task == "binary" else "Leave such rows out.",
        )
    return numbers


def _label(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class _Asked:
    """Asks the model, and measures what it says."""

    predict: Callable[[Any], Any]
    frame: Frame
    evaluation: Evaluation
    truth: NDArray[Any]
    metric: str

    def scored(self, inputs: pa.Table) -> Scored:
        given = np.asarray(self.predict(self._framed(inputs)))
        rows = len(self.truth)
        if given.shape[:1] != (rows,) or given.ndim > 2:
            raise MonitorError(
                f"predict gives shape {given.shape} for {rows:,} rows.", hint="Give one prediction for each row."
            )
        found = scores_of(self._sample(given))[self.metric]
        if isinstance(found, str):
            raise MonitorError(f"{self.metric} is not defined here: {found}.", hint="Name another metric.")
        return found

    def _framed(self, inputs: pa.Table) -> Any:
        if self.frame == "arrow":
            return inputs
        if self.frame == "polars":
            return pl.from_arrow(inputs)
        try:
            columns = [column.cast(pa.float64()).to_numpy() for column in inputs.columns]
        except pa.ArrowException as error:
            raise MonitorError(
                f"Not every column is a number: {error}.", hint='Drop it, or take the rows with frame="polars".'
            ) from None
        return np.column_stack(columns)

    def _sample(self, given: NDArray[Any]) -> Sample:
        places = np.arange(len(self.truth))
        if self.evaluation.task == "multiclass":
            return self._of_classes(given, places)
        if given.ndim == 2:
            given = given[:, -1]
        try:
            numbers = given.astype(np.float64)
        except ValueError:
            raise MonitorError("predict gives no numbers.", hint="Give scores, or 0 and 1.") from None
        if not np.isfinite(numbers).all():
            raise MonitorError("predict gives NaN or an infinite number.", hint="Give a number for each row.")
        if self.evaluation.task == "regression":
            return Sample(task="regression", truth=self.truth, predicted=numbers, scores=None, places=places)
        reason = "" if ((numbers >= 0) & (numbers <= 1)).all() else "some scores do not lie between 0 and 1"
        chosen = (numbers >= self.evaluation.decision_threshold).astype(np.float64)
        return Sample(
            task="binary", truth=self.truth, predicted=chosen, scores=numbers, places=places, scores_missing=reason
        )

    def _of_classes(self, given: NDArray[Any], places: NDArray[np.int64]) -> Sample:
        if given.ndim == 1:
            labels = np.array([_label(one) for one in given.tolist()])
            classes = np.union1d(self.truth, labels)
            predicted, scores, reason = np.searchsorted(classes, labels), None, "predict gives no probabilities"
        else:
            classes = np.unique(self.truth)
            if given.shape[1] != len(classes):
                raise MonitorError(
                    f"predict gives {given.shape[1]} probabilities for {len(classes)} classes.",
                    hint="Give one for each label of the target, in sorted order.",
                )
            scores, reason = given.astype(np.float64), ""
            predicted = scores.argmax(axis=1)
        return Sample(
            task="multiclass",
            truth=np.searchsorted(classes, self.truth).astype(np.float64),
            predicted=predicted.astype(np.float64),
            scores=scores,
            classes=tuple(classes.tolist()),
            places=places,
            scores_missing=reason,
        )
