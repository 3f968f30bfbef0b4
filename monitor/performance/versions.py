"""Two versions of a service or a model, compared on any number that was logged of their predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import markup
from featurestore.errors import MonitorError, ObjectNotFoundError, closest
from featurestore.registry.records import ModelRecord
from featurestore.store import FeatureStore
from monitor.performance.comparison import Comparison, Margin, compare
from monitor.performance.joining import Coverage, Joined
from monitor.performance.reading import read_joined
from monitor.performance.sample import Sample, to_sample

_DAY_MICROSECONDS = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Metrics of models that are a mean over predictions, so that two versions can be compared on them; the others only say
#: something of all predictions together.
QUALITY = {"accuracy": False, "brier": True, "mae": True, "mse": True}


@dataclass(frozen=True, kw_only=True)
class VersionComparison:
    """What is known of one version against another.

    Attributes:
        comparison: the answer, with its numbers.
        coverage: of the predictions of A and B, in this order.
        start: of the period that both are taken from.
        end: its last instant.
        notes: what a reader should know before they believe it, a sentence each.
    """

    comparison: Comparison
    coverage: tuple[Coverage, Coverage]
    start: datetime | None
    end: datetime | None
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer in sentences, and what to know before it is believed."""
        said = markup.element("p", self.comparison.text, dir="auto")
        return markup.text_of(said, *([markup.listed(self.notes)] if self.notes else []))


class _Values(NamedTuple):
    """The metric of predictions, when they were made, and the first and last instant of all matured ones."""

    instants: NDArray[np.int64]
    values: NDArray[np.float64]
    span: tuple[int, int] | None
    coverage: Coverage


def compare_versions(
    store: FeatureStore,
    a: str,
    b: str,
    *,
    metric: str,
    margin: Margin,
    now: datetime,
    since: datetime | None = None,
    missing: str = "",
    all_times: bool = False,
    confidence: float = 0.95,
    always_valid: bool = False,
) -> VersionComparison:
    """Return whether version B is better than version A on a metric.

    Only what both served at the same time is compared, unless ``all_times``: two versions of different months differ by
    the months, too. And only a split by chance (a canary's sticky share) makes the difference one of the versions.

    Args:
        store: whose predictions and outcomes.
        a: ``scoring@1`` (predictions of all models that take this version of the service), or a model, ``churn@1``.
        b: the version in question.
        metric: a metric of logged outcomes (``conversion``), or one of the models' own: ``accuracy``, ``brier``,
            ``mae``, ``mse``; of the last three a lower one is better.
        margin: by how much B must be better.
        now: before which outcomes count.
        since: first instant of a prediction; None for all.
        missing: what no outcome means: ``unknown`` leaves the prediction out, ``zero`` counts it as 0. Empty follows
            each model's ``missing_outcome``.
        all_times: whether predictions of all times are compared.
        confidence: of each interval by itself.
        always_valid: whether the intervals hold however often one looks.

    Raises:
        ObjectNotFoundError: there is no such model, and no model of such a service.
        MonitorError: no outcome has this metric, or outcomes of it are labels.
        OfflineStoreError: a file cannot be read.
    """
    known = _metrics(store, a, b)
    if metric not in known and metric not in QUALITY:
        raise MonitorError(
            f'No outcome of {a} or {b} has the metric "{metric}".',
            hint=closest(metric, known) or f'Log it: store.log_outcomes(MODEL, [{{..., "metric": "{metric}"}}]).',
        )
    logged = metric in known
    one, other = (_read(store, which, metric, since, missing, now, logged=logged) for which in (a, b))
    notes: list[str] = []
    if one.span is not None and other.span is not None:
        start, end = max(one.span[0], other.span[0]), min(one.span[1], other.span[1])
        if start > end:
            notes.append(f"{a} and {b} never served at the same time: what differs may be the times, not the versions.")
        elif not all_times:
            one, other = _within(one, start, end), _within(other, start, end)
    if metric in QUALITY and not margin.lower_is_better:
        margin = replace(margin, lower_is_better=QUALITY[metric])
    days = (one.instants // _DAY_MICROSECONDS, other.instants // _DAY_MICROSECONDS)
    if len(np.unique(np.concatenate(days))) < 2:
        notes.append(
            "All predictions are of one day: how much days differ is not known, and rows count as independent."
        )
    found = compare(
        one.values,
        other.values,
        metric=metric,
        names=(a, b),
        margin=margin,
        blocks=days,
        confidence=confidence,
        always_valid=always_valid,
    )
    instants = np.concatenate([one.instants, other.instants])
    return VersionComparison(
        comparison=found,
        coverage=(one.coverage, other.coverage),
        start=_instant(instants.min()) if len(instants) else None,
        end=_instant(instants.max()) if len(instants) else None,
        notes=tuple(notes),
    )


def _instant(microseconds: np.int64) -> datetime:
    return _EPOCH + timedelta(microseconds=int(microseconds))


def _models(store: FeatureStore, reference: str) -> list[ModelRecord]:
    try:
        found = store.registry.models(reference)
    except ObjectNotFoundError:
        found = []
    return found or [store.registry.model(reference)]


def _metrics(store: FeatureStore, *references: str) -> set[str]:
    """Return the metrics of the outcomes that were logged for the models of some references."""
    names = {model.name for one in references for model in _models(store, one)}
    found = (store.outcomes(name).column("metric").unique().to_pylist() for name in sorted(names))
    return {metric for of_model in found for metric in of_model if metric}


def _read(
    store: FeatureStore,
    reference: str,
    metric: str,
    since: datetime | None,
    missing: str,
    now: datetime,
    *,
    logged: bool,
) -> _Values:
    parts = [
        _logged(store, one, metric, since, missing, now) if logged else _measured(store, one, metric, since, now)
        for one in _models(store, reference)
    ]
    spans = [one.span for one in parts if one.span is not None]
    return _Values(
        instants=np.concatenate([one.instants for one in parts]),
        values=np.concatenate([one.values for one in parts]),
        span=(min(first for first, _ in spans), max(last for _, last in spans)) if spans else None,
        coverage=sum((one.coverage for one in parts), Coverage()),
    )


def _logged(
    store: FeatureStore, model: ModelRecord, metric: str, since: datetime | None, missing: str, now: datetime
) -> _Values:
    """Return a metric of the business."""
    joined = read_joined(store, model.id, model.evaluation, now=now, since=since, metric=metric)
    numbers = joined.rows.column("outcome_number")
    if joined.rows.column("outcome_label").null_count < joined.rows.num_rows:
        raise MonitorError(
            f'Outcomes of {model.name} with the metric "{metric}" are labels, which have no mean.',
            hint="Log numbers: 1.0 for what happened, 0.0 for what did not.",
        )
    if missing == "zero" or (not missing and model.evaluation.missing_outcome == "negative"):
        numbers = pc.fill_null(numbers, 0.0)
    instants = _instants(joined)
    kept = numbers.is_valid().to_numpy()
    return _Values(instants[kept], numbers.drop_null().to_numpy(), _span(instants), joined.coverage)


def _measured(store: FeatureStore, model: ModelRecord, metric: str, since: datetime | None, now: datetime) -> _Values:
    """Return a metric of the model itself."""
    joined = read_joined(store, model.id, model.evaluation, now=now, since=since)
    sample = to_sample(joined.rows, model.evaluation)
    instants = _instants(joined)
    return _Values(instants[sample.places], _quality(sample, metric), _span(instants), joined.coverage)


def _instants(joined: Joined) -> NDArray[np.int64]:
    instants: NDArray[np.int64] = joined.rows.column("predicted_at").cast(pa.int64()).to_numpy()
    return instants


def _span(instants: NDArray[np.int64]) -> tuple[int, int] | None:
    return (int(instants.min()), int(instants.max())) if len(instants) else None


def _quality(sample: Sample, metric: str) -> NDArray[np.float64]:
    """Return the metric of each prediction, whose mean is the metric of all.

    Raises:
        MonitorError: the task has no such metric, or predictions have no probabilities.
    """
    if metric == "accuracy" and sample.task != "regression":
        right: NDArray[np.bool_] = sample.predicted == sample.truth
        return right.astype(np.float64)
    if metric == "brier" and sample.task == "binary":
        if sample.rows and (sample.scores is None or sample.scores_missing):
            raise MonitorError(f"The Brier score is not defined: {sample.scores_missing}.")
        scores = sample.predicted if sample.scores is None else sample.scores
        missed: NDArray[np.float64] = np.square(scores - sample.truth)
        return missed
    if metric in ("mae", "mse") and sample.task == "regression":
        errors: NDArray[np.float64] = np.abs(sample.predicted - sample.truth)
        return errors * errors if metric == "mse" else errors
    raise MonitorError(
        f'Two {sample.task} models cannot be compared on "{metric}".',
        hint="Take accuracy of classes, brier of probabilities, mae or mse of numbers, or a metric that is logged.",
    )


def _within(part: _Values, start: int, end: int) -> _Values:
    kept = (part.instants >= start) & (part.instants <= end)
    return part._replace(instants=part.instants[kept], values=part.values[kept])
