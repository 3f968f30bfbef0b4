"""What a report says -> one page of HTML, with its pictures in it: it opens anywhere, and asks for nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from featurestore import plots
from featurestore.errors import ConfigError
from featurestore.markup import Content, element, listed, table, text_of
from monitor.alerts.message import called
from monitor.alerts.plot import caption, sparkline
from monitor.alerts.showing import state_of, time_of
from monitor.report.pictures import before_and_now, evidence
from monitor.report.reading import Report, Series, Story

#: Nothing may be loaded; pictures and style are in the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.4rem } h2 { font-size: 1.15rem; border-top: 1px solid #888; padding-top: 1rem } h3 { font-size: 1rem }
.wide { overflow-x: auto } table { border-collapse: collapse; min-width: 100% }
caption { text-align: start; font-weight: 600; padding: .4rem 0 }
th, td { text-align: start; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8886;
  overflow-wrap: break-word; max-width: 24rem }
td:first-child, th { white-space: nowrap }
figure { margin: 1rem 0; background: #fff; color: #222; padding: .5rem; border-radius: .4rem; overflow-x: auto }
img { max-width: 100%; height: auto } pre { overflow-x: auto }
"""
#: Features that are shown of an alert.
_FEATURES = 20


def page(report: Report) -> str:
    """Return the page; a picture that cannot be drawn here is a line of text in its place."""
    rehearsal = f"REPLAY {report.replay}: " if report.replay else ""
    title = f"{rehearsal}monitor of {report.project}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", _STYLE),
    )
    body = element("body", element("h1", title, dir="auto"), *_introduction(report), *_parts(report))
    return f"<!doctype html>\n{text_of(element('html', head, body, lang='en'))}\n"


def _introduction(report: Report) -> Iterator[Element]:
    complete = report.status.get("watermark")
    said = f", of a log that is complete up to {complete}" if complete else ", of a log that nothing was served to yet"
    yield element("p", f"Made {time_of(report.made_at)} UTC{said}.")


def _parts(report: Report) -> Iterator[Element]:
    if not report.stories:
        yield element("p", "No incident goes on.")
    for story in report.stories:
        yield from _story(story)
    yield element("h2", "What is watched")
    rows = [
        (one["service"], one["slice"], str(one["verdict"]), f"{one['windows']:,}", f"{one['rows']:,}", one["baseline"])
        for policy in report.status.get("policies", ())
        for one in policy["services"]
    ]
    if rows:
        yield _wide(table(("service", "slice", "verdict", "windows", "rows", "baseline"), rows))
    else:
        yield element("p", "Nothing was judged yet.")
    for series in report.series:
        yield _figure(lambda one=series: evidence(one), _went(series), lambda one=series: _went(one))  # type: ignore[misc]
    counted = report.status.get("outbox", {})
    yield element("p", "Messages: " + ", ".join(f"{number} {state}" for state, number in counted.items()) + ".")


def _story(story: Story) -> Iterator[Element]:
    incident = story.incident
    yield element("h2", f"Incident {incident.name}: {incident.cause}", dir="auto")
    whose = f", {incident.acknowledged_by} works on it" if incident.open and incident.acknowledged_by else ""
    over = f", over since {time_of(incident.resolved_at)}" if not incident.open else ""
    yield element("p", element("strong", f"{incident.severity}, {state_of(incident)}"), f"{whose}{over}.", dir="auto")
    yield listed(
        f"{called(one.rule)} of {one.service}{f', {one.slice}' if one.slice else ''}: {one.summary or one.state}"
        for one in incident.members
    )
    for finding in story.findings:
        yield from _finding(finding)
    lines = [
        (time_of(one.at), f"{one.what.replace('_', ' ')}{f' by {one.who}' if one.who else ''}", one.text)
        for one in story.happened
    ]
    yield _wide(table(("when (UTC)", "what", "about"), lines, caption="Timeline"))


def _finding(finding: Mapping[str, Any]) -> Iterator[Element]:
    yield element("h3", f"{called(str(finding.get('rule', '')))} of {finding.get('service', '')}", dir="auto")
    if finding.get("suggestedAction"):
        yield element("p", element("strong", "Do: "), str(finding["suggestedAction"]), dir="auto")
    if finding.get("reasons"):
        yield listed(str(one) for one in finding["reasons"])
    if (said := finding.get("evidence")) and "logValue" in said:
        against = f"ln {float(said['logValue']):.2f} against a limit of ln {float(said.get('logLimit', 0)):.2f}"
        since = str(finding.get("onset", ""))
        yield element("p", f"Evidence {against}{f'; likely different since {since}' if since else ''}.")
    features = list(finding.get("features", ()))[:_FEATURES]
    if features:
        titles = ("feature", "effect", "95 % interval", "threshold", "mean", "nulls", "rows", "made from")
        yield _wide(table(titles, [_feature(one) for one in features]))
    if caption(finding):
        lines = sparkline(finding)
        yield _figure(lambda: before_and_now(finding), caption(finding), lambda: "\n".join(lines))


def _wide(shown: Element) -> Element:
    """Return a table that is moved by itself where the screen is narrow."""
    return element("div", shown, class_="wide")


def _feature(one: Mapping[str, Any]) -> tuple[Content, ...]:
    mean = ""
    if "baselineMean" in one and "currentMean" in one:
        mean = f"{float(one['baselineMean']):.4g} → {float(one['currentMean']):.4g}"
    nulls = f"{float(one.get('baselineNullRate', 0)):.1%} → {float(one.get('currentNullRate', 0)):.1%}"
    rows = f"{int(one.get('baselineRows', 0)):,} → {int(one.get('currentRows', 0)):,}"
    low, high = float(one.get("effectLow", 0)), float(one.get("effectHigh", 0))
    effect = f"{float(one.get('effect', 0)):.2f} ({str(one.get('statistic', '')).replace('_', ' ')})"
    return (
        str(one.get("feature", "")),
        effect,
        f"{low:.2f} to {high:.2f}",
        f"{float(one.get('threshold', 0)):.2g}",
        mean,
        nulls,
        rows,
        str(one.get("source", "")),
    )


def _figure(drawn: Callable[[], plots.Chart | None], said: str, instead: Callable[[], str]) -> Element:
    """Return a picture with its caption; in a picture nothing is run, whatever its texts hold."""
    try:
        chart = drawn()
        picture = "" if chart is None else plots.svg(chart)
    except (ConfigError, ValueError):  # nothing to draw with, or it cannot be drawn
        picture = ""
    if not picture:
        return element("figure", element("pre", instead()))
    source = f"data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}"
    return element("figure", element("img", src=source, alt=said), element("figcaption", said, dir="auto"))


def _went(series: Series) -> str:
    last, limit = series.evidence[-1], series.limits[-1]
    if last is None or limit is None:
        return f"{series.service}: {len(series.ends)} windows, and no evidence in the last one"
    return f"{series.service}: evidence ln {last:.2f} after {len(series.ends)} windows, limit ln {limit:.2f}"
