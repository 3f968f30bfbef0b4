"""What was found about performance, as lines for a terminal and as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from monitor.performance.importance import Importances
from monitor.performance.joining import Coverage
from monitor.performance.judging import Drop, find_drop
from monitor.performance.reading import PerformanceReport
from monitor.performance.reference import Reference
from monitor.performance.scored import Metric
from monitor.performance.versions import VersionComparison


def coverage_lines(coverage: Coverage) -> Iterator[str]:
    """Yield what became of predictions, and of outcomes that did not simply meet theirs."""
    assumed = f", {coverage.assumed_negative:,} without one count as negative" if coverage.assumed_negative else ""
    missing = f", {coverage.missing:,} without one are left out" if coverage.missing else ""
    yield (
        f"{coverage.predictions:,} predictions: {coverage.immature:,} wait for their outcome, {coverage.matured:,} "
        f"matured: {coverage.with_outcome:,} with an outcome{assumed}{missing}"
    )
    odd = {
        "cannot be measured": coverage.unusable,
        "outcomes came after the label delay": coverage.late_outcomes,
        "outcomes were observed before their prediction": coverage.outcomes_before_prediction,
        "outcomes were replaced by a later one": coverage.repeated_outcomes,
        "outcomes are of no prediction": coverage.outcomes_without_prediction,
        "predictions repeat an id": coverage.repeated_predictions,
    }
    for what, count in odd.items():
        if count:
            yield f"{count:,} {what}"


def report_lines(report: PerformanceReport, drops: Mapping[str, float]) -> Iterator[str]:
    """Yield a report for a terminal.

    Args:
        report: of one model.
        drops: by metric, the points below the baseline that matter.
    """
    yield f"{report.model} ({report.task})"
    for line in coverage_lines(report.coverage):
        yield f"  {line}"
    for metric in report.metrics.values():
        yield f"  {metric_line(metric)}"
    for window in report.windows:
        shown = ", ".join(_short(one) for one in _main(report.task, window.metrics))
        yield f"  {window.start:%Y-%m-%d %H:%M}  {window.coverage.used:,} of {window.coverage.matured:,}: {shown}"
        for drop in drops_of(report.reference, window.metrics, drops):
            if drop.verdict != "ok":
                yield f"    {drop.verdict}: {drop.text}"
    for expected in report.expected:
        shown = ", ".join(_short(one) for one in _main(report.task, expected.metrics))
        yield f"  {expected.start:%Y-%m-%d %H:%M}  estimate of {expected.rows:,} predictions: {shown}"
    if report.estimated:
        shown = ", ".join(_short(one) for one in report.estimated.values())
        yield f"  Estimate of those that wait, if scores mean what they say: {shown}"
    if report.reference is None:
        yield "  It has no baseline of its own. Next: featurestore monitor reference MODEL"


def drops_of(reference: Reference | None, metrics: Mapping[str, Metric], drops: Mapping[str, float]) -> list[Drop]:
    """Return how metrics stand against the baseline, for the points that matter; none without a baseline."""
    if reference is None:
        return []
    return [
        find_drop(name, reference.metrics[name], metrics[name], points)
        for name, points in drops.items()
        if name in reference.metrics and name in metrics
    ]


def metric_line(metric: Metric) -> str:
    """Return a metric with its interval, or why it has none."""
    if metric.estimate is None:
        return f"{metric.name:<18} - ({metric.reason})"
    value, low, high = metric.estimate
    worth = "" if metric.effective_rows >= metric.rows else f", worth {metric.effective_rows:,.0f} independent rows"
    return f"{metric.name:<18} {value:.4g} [{low:.4g}, {high:.4g}]{worth}"


def report_json(report: PerformanceReport, drops: Mapping[str, float]) -> dict[str, Any]:
    """Return a report as JSON values."""
    return {
        "model": report.model,
        "task": report.task,
        "coverage": _coverage(report.coverage),
        "metrics": _metrics(report.metrics),
        "windows": [
            {
                "start": _text(one.start),
                "end": _text(one.end),
                "verdict": one.verdict,
                "coverage": _coverage(one.coverage),
                "metrics": _metrics(one.metrics),
                "drops": [_plain(asdict(drop)) for drop in drops_of(report.reference, one.metrics, drops)],
            }
            for one in report.windows
        ],
        "baseline": None
        if report.reference is None
        else {
            "source": report.reference.source,
            "rows": report.reference.rows,
            "days": report.reference.blocks,
            "metrics": _metrics(report.reference.metrics),
        },
        "estimated": _metrics(report.estimated),
        "expected": [
            {"start": _text(one.start), "end": _text(one.end), "rows": one.rows, "metrics": _metrics(one.metrics)}
            for one in report.expected
        ],
    }


def comparison_lines(found: VersionComparison) -> Iterator[str]:
    """Yield a comparison for a terminal."""
    yield found.comparison.text
    for name, coverage in zip((found.comparison.a.name, found.comparison.b.name), found.coverage, strict=True):
        for line in coverage_lines(coverage):
            yield f"  {name}: {line}"
    if found.start is not None and found.end is not None:
        yield f"  Compared: predictions from {found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC"
    for note in found.notes:
        yield f"  Note: {note}"


def comparison_json(found: VersionComparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    one = found.comparison
    values = asdict(found) | {"coverage": [_coverage(part) for part in found.coverage]}
    values["comparison"] |= {
        "difference": _estimate(one.difference),
        "ratio": None if one.ratio is None else _estimate(one.ratio),
        "contrast": _estimate(one.contrast),
        "text": one.text,
    }
    for name, arm in (("a", one.a), ("b", one.b)):
        values["comparison"][name] |= {"estimate": _estimate(arm.estimate), "effective_rows": arm.effective_rows}
    plain: dict[str, Any] = _plain(values)
    return plain


def importance_lines(model: str, found: Importances) -> Iterator[str]:
    """Yield importances for a terminal."""
    yield f"{model}: {_short(found.baseline)} over {found.rows:,} rows, {found.repeats} shuffles of each feature"
    for name, one in found.features.items():
        yield f"  {name:<30} {one.value:.4g} [{one.low:.4g}, {one.high:.4g}]"


def importance_json(model: str, found: Importances) -> dict[str, Any]:
    """Return importances as JSON values."""
    return {
        "model": model,
        "metric": found.metric,
        "baseline": _metrics({found.metric: found.baseline})[found.metric],
        "rows": found.rows,
        "repeats": found.repeats,
        "features": {name: _estimate(one) for name, one in found.features.items()},
    }


def main_metrics(task: str) -> tuple[str, ...]:
    """Return the names of the metrics of a task that are shown where there is room for a few."""
    return ("rmse", "bias") if task == "regression" else ("accuracy", "f1", "roc_auc")


def _main(task: str, metrics: Mapping[str, Metric]) -> list[Metric]:
    return [metrics[name] for name in main_metrics(task)]


def _short(metric: Metric) -> str:
    if metric.estimate is None:
        return f"{metric.name} -"
    return f"{metric.name} {metric.estimate.value:.4g} [{metric.estimate.low:.4g}, {metric.estimate.high:.4g}]"


def _metrics(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {
        name: {
            **({} if one.estimate is None else _estimate(one.estimate)),
            "rows": one.rows,
            "effective_rows": one.effective_rows,
            **({"reason": one.reason} if one.reason else {}),
        }
        for name, one in metrics.items()
    }


def _coverage(coverage: Coverage) -> dict[str, Any]:
    return asdict(coverage) | {"used": coverage.used, "share": coverage.share}


def _estimate(estimate: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in zip(("value", "low", "high"), estimate, strict=True)}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: what is infinite or NaN is null, instants are texts."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return _text(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(instant: datetime) -> str:
    return instant.isoformat()
