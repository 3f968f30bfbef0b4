"""How a model does over time: what the monitor judged of it, and what its log of predictions says now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from featurestore import plots
from featurestore.serving.feedback import PREDICTIONS
from featurestore.serving.feedback.segments import segments
from monitor import schema
from monitor.dashboard.reading import Reader
from monitor.history import instant
from monitor.performance.reading import feedback_watermark, read_performance
from monitor.performance.rendering import main_metrics, report_json
from monitor.performance.scored import HIGHER_IS_BETTER

#: Looks at outcomes that are listed.
LOOKS = 90
#: For how long what was measured is told again, in seconds.
SECONDS = 60.0
#: Bytes of a log of predictions that is measured unasked: a hundred thousand of them, about. More take seconds.
SMALL = 2_000_000
_DAY = timedelta(days=1)


def looks(connection: Connection, model: str) -> list[dict[str, Any]]:
    """Return what the monitor judged of a model's outcomes, as JSON values, the newest window first.

    Returns:
        Each with the ``drops`` that a policy judges (``change`` from the model's own baseline, above 0 if it is worse,
        with its interval; the ``points`` that matter; ``verdict``) and the running ``risk`` with its limit.
    """
    checks = schema.checks
    query = select(checks).where(checks.c.subject == f"performance of {model}").order_by(checks.c.at.desc())
    return [
        {
            "at": None if (at := instant(row.at)) is None else at.isoformat(),
            "verdict": row.verdict,
            "policy": row.policy,
            **_judged(next(iter(json.loads(row.findings)), {})),
        }
        for row in connection.execute(query.limit(LOOKS)).all()
    ]


def _judged(finding: Mapping[str, Any]) -> dict[str, Any]:
    risk = finding.get("risk")
    return {
        "drops": [
            {
                "metric": one["metric"],
                "points": one["points"],
                "verdict": one["verdict"],
                **_ends(one.get("change")),
            }
            for one in finding.get("drops", ())
        ],
        "risk": None if risk is None else {key: risk.get(key) for key in ("risk", "limit", "rows", "alarm")},
        "reasons": [str(one) for one in finding.get("reasons", ())],
    }


def _ends(change: Sequence[float] | None) -> dict[str, Any]:
    return dict(zip(("change", "low", "high"), (None, None, None) if change is None else change, strict=True))


def log_size(reader: Reader, model: str) -> int:
    """Return how many bytes of predictions there are of a model, of all its versions."""
    folder = reader.config.path(reader.config.serving.feedback_path)
    total = 0
    for one in segments(folder / PREDICTIONS.name / model.partition("@")[0]):
        try:
            total += one.stat().st_size
        except FileNotFoundError:  # it was merged with another one
            continue
    return total


def measured(reader: Reader, model: str, *, days: int, now: datetime) -> Mapping[str, Any]:
    """Return how a model did on the predictions of the last days, as ``monitor performance --format json`` has it.

    Besides it has ``main``, the metrics that are shown first, and ``since``, the first instant.

    Args:
        reader: of the store.
        model: ``churn@3``.
        days: before now; of a rehearsal, before where its clock stands.
        now: the wall clock.

    Raises:
        FeatureStoreError: it declares no task, or a file cannot be read.
    """

    def found() -> dict[str, Any]:
        until = feedback_watermark(reader.store, now=now)
        since = (until - days * _DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        report = read_performance(reader.store, model, now=until, since=since)
        main = [one for one in main_metrics(report.task) if one in report.metrics]
        return {**report_json(report, {}), "main": main, "since": since.isoformat()}

    return reader.recent(("performance", model, days), SECONDS, found)


def panels(report: Mapping[str, Any], points: Mapping[str, float]) -> list[plots.Panel]:
    """Return metrics over time: measured, estimated, and what they are compared with; none for fewer than two windows.

    Args:
        report: see :func:`measured`.
        points: by metric, how much worse than the baseline matters.
    """
    told = {"measured": report["windows"], "estimated": report["expected"]}
    ends = [datetime.fromisoformat(one["end"]) for windows in told.values() for one in windows]
    if len(ends) < 2:
        return []
    last = max(ends)
    return [
        plots.Panel(
            x="days before the last window",
            y=metric.replace("_", " "),
            lines=[
                *(_line(name, metric, windows, last) for name, windows in told.items() if windows),
                *_levels(report, metric, points, [(min(ends) - last) / _DAY, 0.0]),
            ],
            zero=False,
        )
        for metric in report["main"]
    ]


def _line(name: str, metric: str, windows: Sequence[Mapping[str, Any]], last: datetime) -> plots.Line:
    values = [one["metrics"].get(metric, {}) for one in windows]
    return plots.Line(
        name=name,
        x=[(datetime.fromisoformat(one["end"]) - last) / _DAY for one in windows],
        y=[one.get("value") for one in values],
        low=[one.get("low") for one in values],
        high=[one.get("high") for one in values],
    )


def _levels(
    report: Mapping[str, Any], metric: str, points: Mapping[str, float], x: Sequence[float]
) -> Iterator[plots.Line]:
    baseline = report["baseline"] or {"metrics": {}}
    value = baseline["metrics"].get(metric, {}).get("value")
    if value is None:
        return
    yield plots.Line(name="the model's baseline", x=x, y=[value, value])
    better = HIGHER_IS_BETTER.get(metric)
    if metric in points and better is not None:
        worse = value - points[metric] if better else value + points[metric]
        yield plots.Line(name="what matters", x=x, y=[worse, worse])


def look_panels(found: Sequence[Mapping[str, Any]]) -> list[plots.Panel]:
    """Return how much worse than its own baseline a model was, where that is known of two windows at least.

    Args:
        found: see :func:`looks`.
    """
    judged = [
        (datetime.fromisoformat(one["at"]), one["policy"], drop)
        for one in reversed(found)
        for drop in one["drops"]
        if drop["change"] is not None
    ]
    made = []
    policies = {policy for _, policy, _ in judged}
    for whose, metric in dict.fromkeys((policy, drop["metric"]) for _, policy, drop in judged):
        mine = [(at, drop) for at, policy, drop in judged if (policy, drop["metric"]) == (whose, metric)]
        if len(mine) < 2:
            continue
        x = [(at - judged[-1][0]) / _DAY for at, _ in mine]
        change = plots.Line(
            name="worse by",
            x=x,
            y=[one["change"] for _, one in mine],
            low=[one["low"] for _, one in mine],
            high=[one["high"] for _, one in mine],
        )
        matters = plots.Line(name="what matters", x=x, y=[one["points"] for _, one in mine])
        title = f"{metric.replace('_', ' ')}{f' ({whose})' if len(policies) > 1 else ''}"
        made.append(plots.Panel(x="days before the last window", y=title, lines=[change, matters]))
    return made
