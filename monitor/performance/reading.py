"""From a feature store's log of predictions and outcomes to how its models do; the one part that reads and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore import markup
from featurestore.definitions import Evaluation
from featurestore.errors import MonitorError
from featurestore.offline.intake.frames import to_table
from featurestore.registry.records import ModelRecord
from featurestore.serving.feedback import PREDICTIONS
from featurestore.serving.feedback.rows import from_frame
from featurestore.store import FeatureStore
from monitor.performance.estimation import estimate_performance
from monitor.performance.histogram import ScoreHistogram
from monitor.performance.joining import Coverage, Joined, join_outcomes
from monitor.performance.reference import Reference, fit_reference
from monitor.performance.sample import scores_in, to_sample
from monitor.performance.scored import Metric
from monitor.performance.windows import Evaluated, ExpectedWindow, PerformanceWindow, evaluate

_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MICROSECONDS = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class PerformanceReport:
    """How a model did, and how it should be doing.

    Attributes:
        model: ``churn@3``, or ``churn`` for all versions together.
        task: of the model.
        coverage: of all its predictions and outcomes in the period.
        metrics: of all matured predictions.
        windows: in order of time, those that have matured as a whole and have predictions.
        reference: the model's own baseline; None where none was recorded.
        estimated: of the predictions that are not matured, what metrics should be: estimates, of a binary model whose
            scores are probabilities. Empty where nothing can be said.
        expected: the same window by window, of the windows that are not among ``windows`` yet, all their predictions.
    """

    model: str
    task: str
    coverage: Coverage
    metrics: Mapping[str, Metric]
    windows: tuple[PerformanceWindow, ...]
    reference: Reference | None
    estimated: Mapping[str, Metric]
    expected: tuple[ExpectedWindow, ...] = ()

    def _repr_html_(self) -> str:
        """What a notebook shows: each metric with its interval, beside the model's own baseline."""
        own = {} if self.reference is None else self.reference.metrics
        rows = [(name, _told(one), _told(own.get(name)), f"{one.rows:,}") for name, one in self.metrics.items()]
        rows += [(f"{name}, estimated", _told(one), _told(own.get(name)), "") for name, one in self.estimated.items()]
        counts = f"{self.coverage.matured:,} of {self.coverage.predictions:,} predictions matured"
        caption = f"{self.model}: {counts}, {self.coverage.with_outcome:,} with an outcome"
        return markup.text_of(markup.table(("metric", "now", "baseline", "rows"), rows, caption=caption))


def _told(metric: Metric | None) -> str:
    if metric is None or metric.estimate is None:
        return "" if metric is None else metric.reason
    return f"{metric.estimate.value:.4g} [{metric.estimate.low:.4g}, {metric.estimate.high:.4g}]"


def models_of(store: FeatureStore, reference: str) -> list[str]:
    """Return the models of a service (``scoring``, ``scoring@1``), or the one of that name (``churn``, ``churn@3``).

    Raises:
        ObjectNotFoundError: there is no such model, and no model of such a service.
    """
    found = [one.id for one in store.registry.models(reference)]
    if found:
        return found
    record = store.registry.model(reference)
    return [record.id if "@" in reference else record.name]


def feedback_watermark(store: FeatureStore, *, now: datetime) -> datetime:
    """Return the instant before which outcomes are known: now, or where a rehearsal's clock stands.

    Raises:
        MonitorError: the clock of the rehearsal does not stand anywhere yet.
    """
    if not store.config.replay:
        return now
    clock = store.online.clock()
    if clock is None:
        raise MonitorError(
            f'The clock of rehearsal "{store.config.replay}" does not stand anywhere yet.',
            hint="Hold it first: featurestore serve --replay NAME --clock INSTANT",
        )
    return _EPOCH + timedelta(microseconds=clock)


def read_performance(
    store: FeatureStore,
    model: str,
    *,
    now: datetime,
    window: timedelta = _DAY,
    since: datetime | None = None,
    confidence: float = 0.95,
) -> PerformanceReport:
    """Return how a model did, in windows by the instant of the prediction.

    Args:
        store: whose predictions and outcomes.
        model: ``churn@3``, or ``churn`` for all versions together, by what the newest one declares.
        now: before which outcomes count; see :func:`feedback_watermark`.
        window: the length of a window.
        since: first instant of the first window; it is moved back to where a window begins. None for all.
        confidence: of each interval by itself.

    Raises:
        ObjectNotFoundError: there is no such model.
        MonitorError: it declares no task, or the window has no length.
        OfflineStoreError: a file cannot be read.
    """
    record = store.registry.model(model)
    if since is not None and window > timedelta(0):
        since = _EPOCH + (since - _EPOCH) // window * window
    reference = reference_of(record)
    joined, found = _evaluated(store, model, record, window, since, None, now, reference, confidence)
    return PerformanceReport(
        model=model,
        task=record.evaluation.task,
        coverage=found.coverage,
        metrics=found.metrics,
        windows=found.windows,
        reference=reference,
        estimated=_estimated(joined.immature, record.evaluation, reference, confidence),
        expected=tuple(_expected(joined, record.evaluation, window, now, reference, confidence)),
    )


def read_joined(
    store: FeatureStore,
    model: str,
    evaluation: Evaluation,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    metric: str = "",
) -> Joined:
    """Return a model's predictions of a period with their outcomes.

    Outcomes that were observed more than a day before ``since`` are not looked at: their predictions come later.

    Args:
        store: whose.
        model: ``churn@3``, or ``churn`` for all versions.
        evaluation: what it declares.
        now: before which outcomes count.
        since: first instant of a prediction.
        until: first instant that is too late.
        metric: of the outcomes; empty for what the model predicts.

    Raises:
        ObjectNotFoundError: there is no such model.
        OfflineStoreError: a file cannot be read.
    """
    predictions = store.predictions(model, since, until)
    outcomes = store.outcomes(model, None if since is None else since - _DAY, now, every=True)
    outcomes = outcomes.filter(pc.equal(outcomes.column("metric"), metric))
    ids = outcomes.column("prediction_id").unique()
    strange = ids.filter(pc.invert(pc.is_in(ids, value_set=predictions.column("prediction_id").combine_chunks())))
    elsewhere = store.known_predictions(model, strange) if len(strange) else None
    return join_outcomes(predictions, outcomes, evaluation, watermark=now, metric=metric, elsewhere=elsewhere)


def reference_of(record: ModelRecord) -> Reference | None:
    """Return the baseline of a model's record; None where there is none."""
    return Reference.from_dict(record.reference_performance) if record.reference_performance else None


def record_reference(
    store: FeatureStore,
    model: str,
    validation: Any = None,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    tolerance: float = 0.02,
    delta: float = 0.05,
) -> Reference:
    """Measure a model's own baseline and record it with the model, in place of the one before.

    Args:
        store: where the model is.
        model: ``churn@3``; without a version it is the newest.
        validation: predictions on rows that the model was not trained on, as dicts or a frame: ``number``, ``label`` or
            ``probabilities`` as they are logged, ``outcome`` (a number, a truth value or a label), and where known
            ``predicted_at``: by its days the design effect is measured. None takes a serving period.
        now: before which outcomes count.
        since: of a serving period, its first instant; None for the model's first prediction.
        until: its end; None for all that has matured.
        tolerance: by how much more the running risk may grow; see ``monitor.performance.reference``.
        delta: the chance that the source's risk exceeds its upper bound.

    Raises:
        ObjectNotFoundError: there is no such model.
        DataError: the validation is no rows.
        InvalidRequestError: a column of it cannot be what it says.
        MonitorError: the model declares no task, or no prediction has a known outcome.
    """
    record = store.registry.model(model)
    evaluation = record.evaluation
    if validation is not None:
        rows = _validation(validation)
        sample = to_sample(rows, evaluation)
        days = None
        if not rows.column("predicted_at").null_count:
            days = rows.column("predicted_at").cast(pa.int64()).to_numpy()[sample.places] // _DAY_MICROSECONDS
        source = "validation"
    else:
        joined, found = _evaluated(store, record.id, record, _DAY, since, until, now, None, 0.95)
        sample, days = found.sample, found.blocks
        instants = joined.rows.column("predicted_at")
        source = ""
        if joined.rows.num_rows:
            source = f"{since or pc.min(instants).as_py()} to {until or pc.max(instants).as_py()}"
    made = fit_reference(
        sample,
        days,
        source=source,
        threshold=evaluation.decision_threshold,
        tolerance=tolerance,
        delta=delta,
    )
    store.registry.update_model(record.id, who=store.who(), reference_performance=made.to_dict())
    return made


def _evaluated(
    store: FeatureStore,
    model: str,
    record: ModelRecord,
    window: timedelta,
    since: datetime | None,
    until: datetime | None,
    now: datetime,
    reference: Reference | None,
    confidence: float,
) -> tuple[Joined, Evaluated]:
    evaluation = record.evaluation
    joined = read_joined(store, model, evaluation, now=now, since=since, until=until)
    found = evaluate(joined, evaluation, window=window, watermark=now, reference=reference, confidence=confidence)
    return joined, found


def _expected(
    joined: Joined,
    evaluation: Evaluation,
    window: timedelta,
    now: datetime,
    reference: Reference | None,
    confidence: float,
) -> Iterator[ExpectedWindow]:
    """Yield what is to be expected of windows that have not matured as a whole, in order of time."""
    names = joined.immature.column_names
    waiting = pa.concat_tables([joined.rows.select(names), joined.immature])
    size = window // _MICROSECOND
    numbers = waiting.column("predicted_at").cast(pa.int64()).to_numpy() // size
    first = (now - evaluation.label_delay - _EPOCH) // _MICROSECOND // size
    begin = int(np.searchsorted(numbers, first))
    found, starts, counts = np.unique(numbers[begin:], return_index=True, return_counts=True)
    for number, at, count in zip(found.tolist(), starts.tolist(), counts.tolist(), strict=True):
        rows = waiting.slice(begin + at, count)
        metrics = _estimated(rows, evaluation, reference, confidence)
        if metrics:
            start = _EPOCH + number * window
            yield ExpectedWindow(start=start, end=start + window, rows=rows.num_rows, metrics=metrics)


def _estimated(
    rows: pa.Table, evaluation: Evaluation, reference: Reference | None, confidence: float
) -> dict[str, Metric]:
    if evaluation.task != "binary" or not rows.num_rows:
        return {}
    scores = scores_in(rows, evaluation)
    histogram = ScoreHistogram.from_scores(scores, threshold=evaluation.decision_threshold)
    if histogram.outside:
        return {}
    calibration = None if reference is None else reference.calibration
    if calibration is not None and calibration.scores.threshold != evaluation.decision_threshold:
        calibration = None
    return estimate_performance(histogram, calibration, confidence=confidence)


def _validation(given: Any) -> pa.Table:
    """Return validation predictions in the columns of joined rows."""
    table = to_table(given, "the validation predictions")
    if "outcome" not in table.column_names:
        raise MonitorError(
            'The validation predictions have no column "outcome".', hint="It says what was true: 1.0, or a label."
        )
    outcome = table.column("outcome")
    texts = pa.types.is_string(outcome.type) or pa.types.is_large_string(outcome.type)
    rows = from_frame(PREDICTIONS, table.drop_columns(["outcome"]))
    try:
        number = pa.nulls(len(outcome), pa.float64()) if texts else outcome.cast(pa.float64())
    except pa.ArrowException:
        raise MonitorError(
            f'Column "outcome" of the validation predictions is {outcome.type}.',
            hint="Give numbers, truth values or labels.",
        ) from None
    label = outcome.cast(pa.string()) if texts else pa.nulls(len(outcome), pa.string())
    # What stands for "an outcome was observed" where a model takes none for "negative".
    known = pc.if_else(pc.is_valid(outcome), pa.scalar(0), pa.scalar(None, pa.int64()))
    return (
        rows.append_column("outcome_number", number)
        .append_column("outcome_label", label)
        .append_column("observed_at", known.cast(pa.timestamp("us", "UTC")))
    )
