"""A comparison of served rows with the join, for the terminal where it was asked for: keys and values are in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from monitor.parity.report import ADVICE, BUGS, Ages, Example, FeatureSkew, ParityReport


def report_values(report: ParityReport) -> dict[str, Any]:
    """Return all of a report as values that JSON has, but for instants, dates and decimals; shares as objects."""
    values = asdict(report)
    for each, feature in zip(values["features"], report.features, strict=True):
        each["share"] = feature.share._asdict()
    for each, lag in zip(values["lag"], report.lag, strict=True):
        each["share"] = lag.share._asdict()
        for name in ("served_age", "waited"):
            if not getattr(lag, name).rows:  # JSON has no NaN
                each[name] = None
    values["causes"] = report.causes
    return values


def report_lines(report: ParityReport) -> Iterator[str]:
    """Yield the lines that people read: what differs, how often, why, how far behind, and some examples."""
    yield (
        f"{report.service}: {report.checked:,} rows ({report.values:,} values) compared, "
        f"{report.mismatches:,} mismatches, {report.lagged:,} lagged"
        f"{f', {report.late:,} with later data' if report.late else ''}."
    )
    if not report.checked:
        yield "The serving log has no row of this version in that time; name another one, or ask a server first."
        return
    if report.stale:
        yield f"  {report.stale:,} rows were served from a local copy, as the online store was away; they lag as it did"
    for one in report.features:
        yield from _feature(one, report.requests)
    for lag in report.lag:
        yield (
            f'  "{lag.view}" lagged in {lag.rows:,} rows: served rows were {_ages(lag.served_age)} old, '
            f"newer ones had waited {_ages(lag.waited)}"
        )
    for cause in report.causes:
        yield f"  {cause}: {ADVICE[cause]}"
    for example in report.examples:
        yield _example(example)


def _feature(one: FeatureSkew, requests: int) -> Iterator[str]:
    causes = ", ".join(
        f"{cause} {count:,}{f' ({one.details[cause]})' if cause in one.details else ''}"
        for cause, count in one.rows.items()
    )
    yield f"  {one.feature}: {sum(one.rows.values()):,} rows differ: {causes}"
    if one.wrong_requests:
        share = one.share
        yield (
            f"    wrong in {one.wrong_requests:,} of {requests:,} requests: "
            f"{share.value:.2%} [{share.low:.2%}, {share.high:.2%}]"
        )


def _ages(ages: Ages) -> str:
    if not ages.rows:
        return "not there, so not any"
    return (
        f"{ages.median:,.0f} s in the median, {ages.p95:,.0f} s at the 95th percentile, {ages.greatest:,.0f} s at most"
    )


def _example(one: Example) -> str:
    keys = ", ".join(f"{key}={value}" for key, value in one.keys.items())
    events = ""
    if one.served_event_time is not None and one.joined_event_time is not None and one.cause not in BUGS:
        events = f", rows of {one.served_event_time.isoformat()} and {one.joined_event_time.isoformat()}"
    return (
        f"  {one.request_id}[{one.row}] {keys}: {one.feature} served {one.served!r}, joined {one.joined!r} "
        f"({one.cause}{events})"
    )
