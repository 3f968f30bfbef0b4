"""Two models on live data: each by itself over all its predictions, and one against the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from featurestore.errors import MonitorError
from featurestore.registry.records import ModelRecord
from featurestore.store import FeatureStore
from monitor.performance.comparison import Margin
from monitor.performance.reading import PerformanceReport, feedback_watermark, read_performance
from monitor.performance.rendering import comparison_json, coverage_lines, report_json
from monitor.performance.scored import Metric
from monitor.performance.versions import QUALITY, VersionComparison, compare_versions

#: By task, the models' own metrics by which one is compared with another.
METRICS = {"binary": ("accuracy", "brier"), "multiclass": ("accuracy",), "regression": ("mae", "mse")}


def compare_live(
    store: FeatureStore, a: str, b: str, since: datetime | None
) -> tuple[Sequence[str], Mapping[str, Any]]:
    """Return how two models do on the predictions and outcomes that were logged, as lines and as JSON values.

    Args:
        store: whose.
        a: ``churn@1``.
        b: ``churn@2``.
        since: first instant of a prediction; None for all.

    Raises:
        MonitorError: neither of them declares what it predicts.
        OfflineStoreError: a file cannot be read.
    """
    now = feedback_watermark(store, now=datetime.now(UTC))
    models = [store.registry.model(one) for one in (a, b)]
    declared = [one for one in models if one.evaluation.task]
    if not declared:
        raise MonitorError(
            f"{a} and {b} do not declare what they predict, so nothing is measured.",
            hint='Declare it: store.update_model("MODEL", evaluation=Evaluation(task="binary")).',
        )
    reports = {one.id: read_performance(store, one.id, now=now, since=since) for one in declared}
    compared: dict[str, VersionComparison] = {}
    notes: list[str] = []
    for metric in _metrics(store, models):
        margin = Margin(lower_is_better=QUALITY.get(metric, False))
        try:
            compared[metric] = compare_versions(store, a, b, metric=metric, margin=margin, now=now, since=since)
        except MonitorError as error:
            # One number that does not fit says nothing of the others.
            notes.append(error.sentence)
    notes += dict.fromkeys(note for one in compared.values() for note in one.notes)
    values = {
        "models": {name: report_json(report, {}) for name, report in reports.items()},
        "comparisons": [comparison_json(one) for one in compared.values()],
        "notes": notes,
    }
    return [
        *_by_themselves(models, reports),
        *_compared(models, compared),
        *(f"  Note: {one}" for one in notes),
    ], values


def _metrics(store: FeatureStore, models: Sequence[ModelRecord]) -> list[str]:
    """Return on what two models can be compared: their own metrics where they have one task, and logged numbers."""
    tasks = {one.evaluation.task for one in models}
    found = list(METRICS.get(tasks.pop(), ())) if len(tasks) == 1 else []
    for name in sorted({one.name for one in models}):
        outcomes = store.outcomes(name)
        numbers = outcomes.filter(outcomes.column("label").is_null()).column("metric").unique().to_pylist()
        found += sorted(one for one in numbers if one and one not in found)
    return found


def _by_themselves(models: Sequence[ModelRecord], reports: Mapping[str, PerformanceReport]) -> Iterator[str]:
    yield f"  {'on live data':30} {models[0].id:>26} {models[1].id:>26}"
    for name in dict.fromkeys(name for report in reports.values() for name in report.metrics):
        shown = [_shown(reports.get(one.id), name) for one in models]
        yield f"    {name:28} {shown[0]:>26} {shown[1]:>26}"
    for one in models:
        if one.id not in reports:
            yield f"    {one.id}: it does not declare what it predicts"
            continue
        for line in coverage_lines(reports[one.id].coverage):
            yield f"    {one.id}: {line}"


def _compared(models: Sequence[ModelRecord], compared: Mapping[str, VersionComparison]) -> Iterator[str]:
    """Yield what each metric says, of predictions that were made at the same time where there are such."""
    if not compared:
        return
    yield f"  {'one against the other':30} {models[0].id:>26} {models[1].id:>26} {'difference':>26}"
    for metric, found in compared.items():
        a, b = found.comparison.a, found.comparison.b
        shown = [f"{arm.mean:.4g} of {arm.rows:,} rows" if arm.rows else "-" for arm in (a, b)]
        change = found.comparison.difference
        apart = f"{change.value:.4g} [{change.low:.4g}, {change.high:.4g}]" if a.rows and b.rows else "-"
        said = answered(metric, found.comparison.answer)
        yield f"    {metric:28} {shown[0]:>26} {shown[1]:>26} {apart:>26}  {said}".rstrip()


def answered(metric: str, answer: str) -> str:
    """Return what an answer says of the second model; of a number of the business nobody has said which way is better.

    Args:
        metric: that was compared.
        answer: as of :class:`monitor.performance.comparison.Comparison`.
    """
    if metric in QUALITY or answer == "not enough data":
        return {"yes": "better", "no": "worse", "not yet": "open"}.get(answer, answer)
    return "" if answer in ("yes", "no") else "open"


def _shown(report: PerformanceReport | None, name: str) -> str:
    metric: Metric | None = None if report is None else report.metrics.get(name)
    if metric is None or metric.estimate is None:
        return "-"
    value, low, high = metric.estimate
    return f"{value:.4g} [{low:.4g}, {high:.4g}]"
