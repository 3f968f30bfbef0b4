"""What a report says -> charts; nothing is drawn of a field tagged ``pii``, of which no message has shares."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from featurestore import plots
from monitor.alerts.plot import caption, shares
from monitor.report.reading import Report, Series

#: Days are the unit of the axis.
_DAY = timedelta(days=1)


def evidence(series: Series) -> plots.Chart:
    """Return how the evidence of a stream went, beside its limit, in days before the last window's end.

    Raises:
        ConfigError: what draws is not installed.
    """
    days = [(one - series.ends[-1]) / _DAY for one in series.ends]
    lines = [
        plots.Line(name="evidence", x=days, y=series.evidence),
        plots.Line(name="limit", x=days, y=series.limits),
    ]
    title = f"{series.service}, by policy {series.policy}"
    return plots.chart(title, [plots.Panel(x="days before the last window", y="evidence, ln", lines=lines)])


def before_and_now(finding: Mapping[str, Any], *, title: str = "") -> plots.Chart | None:
    """Return the shares of the first feature that has some, before and now; None if none has.

    Args:
        finding: the JSON form of ``featurestore.v1.Alert``.
        title: above it; the feature's name, if not given.

    Raises:
        ConfigError: what draws is not installed.
    """
    found = shares(finding)
    if found is None:
        return None
    bars = plots.Bars(
        labels=[label + " " * _alike(found.labels, number) for number, label in enumerate(found.labels)],
        series={"before": found.before, "now": found.now},
        y="share of rows",
    )
    return plots.bars(title or found.feature, bars)


def picture(report: Report) -> plots.Chart | None:
    """Return the one picture for a chat: what moved first in the first incident, else the evidence of the first stream.

    Raises:
        ConfigError: what draws is not installed.
    """
    rehearsal = f"REPLAY {report.replay}: " if report.replay else ""
    for story in report.stories:
        for finding in story.findings:
            title = f"{rehearsal}incident {story.incident.name}, {finding.get('service', '')}: {caption(finding)}"
            drawn = before_and_now(finding, title=title)
            if drawn is not None:
                return drawn
    return evidence(report.series[0]) if report.series else None


def _alike(labels: tuple[str, ...], number: int) -> int:
    """Return how many labels before this one read like it: a bar would cover the other."""
    return labels[:number].count(labels[number])
