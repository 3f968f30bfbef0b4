"""A backtest's report -> what people read, and what programs do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from featurestore import markup

if TYPE_CHECKING:
    from monitor.backtest.achieved import Achieved
    from monitor.backtest.backtest import BacktestReport, StreamReplay
    from monitor.backtest.ledger import Page

#: Features or reasons that a line names.
_NAMED = 4


def as_json(report: BacktestReport) -> dict[str, Any]:
    """Return a report as JSON values: instants as ISO 8601."""
    return {
        "policy": report.policy,
        "budget": asdict(report.share) | {"pages": report.share.pages},
        "streams": [
            asdict(one) | {"first": _iso(one.first), "last": _iso(one.last), "achieved": _achieved(one.achieved)}
            for one in report.streams
        ],
        "pages": [
            asdict(one)
            | {"at": _iso(one.at), "onset": _iso(one.onset), "resolved": _iso(one.resolved), "on": list(one.on)}
            for one in report.pages
        ],
        "checks": report.checks,
        "achieved": _achieved(report.achieved),
    }


def lines(report: BacktestReport) -> Iterator[str]:
    """Yield a report as lines."""
    whose = f"channel {report.share.route}" if report.share.route else "no channel"
    yield f"{report.policy}: {whose}, {report.share.pages:g} false pages a quarter"
    for one in report.streams:
        yield from _stream(one)
    if report.checks:
        yield f"  checks of facts, skew and outcomes: {report.checks:,} results, as they were found then"
    if not report.pages:
        yield "It would have paged nobody."
    else:
        rules = Counter(one.rule for one in report.pages)
        named = ", ".join(f"{count} {rule.replace('_', ' ')}" for rule, count in rules.most_common())
        yield f"It would have paged {len(report.pages)} {_times(len(report.pages))} ({named}):"
    for page in report.pages:
        yield f"  {_page(page)}"
    if report.achieved is None:
        yield "Chance alone: unknown, as no baseline has the days to replay."
        return
    achieved = report.achieved
    yield (
        f"Chance alone: {achieved.pages} false {'page' if achieved.pages == 1 else 'pages'} in {achieved.windows:,} "
        "windows made of the baseline's own days, in which nothing has changed;"
    )
    yield (
        f"  {achieved.per_quarter:.2g} a quarter as counted, at most {achieved.most_per_quarter:.2g} with "
        f"{achieved.confidence:.0%} confidence. More of them (--null-windows) sharpen the bound."
    )


def html(report: BacktestReport) -> str:
    """Return a report for a notebook: a table of the pages that would have gone out, between what surrounds them."""
    told = list(lines(report))
    paged = len(report.pages)
    start = next(number for number, line in enumerate(told) if line.startswith("It would have paged"))
    rows = [
        (
            _shown(one.at),
            one.rule.replace("_", " "),
            f"{one.service}, {one.slice}" if one.slice else one.service,
            ", ".join(one.on),
            _shown(one.onset),
            "still firing at the end" if one.resolved is None else _shown(one.resolved),
        )
        for one in report.pages
    ]
    titles = ("paged at", "rule", "of", "names", "since", "until")
    table = [markup.table(titles, rows, caption=told[start])] if rows else [markup.element("p", told[start])]
    before, after = (
        markup.element("p", " ".join(part), dir="auto") for part in (told[:start], told[start + 1 + paged :])
    )
    return markup.text_of(before, *table, after)


def _stream(one: StreamReplay) -> Iterator[str]:
    whom = f"{one.service}, {one.slice}" if one.slice else one.service
    if not one.windows:
        yield f"  {whom}: none of {one.skipped:,} windows could be judged: their baseline is not there any more"
        return
    skipped = f", {one.skipped:,} more of baselines that are not there any more" if one.skipped else ""
    limit = f", at most one false alarm in {one.run_length:,.0f}" if one.run_length is not None else ""
    yield f"  {whom}: {one.windows:,} windows from {_shown(one.first)} to {_shown(one.last)}{skipped}{limit}"


def _page(page: Page) -> str:
    whom = f"{page.service}, {page.slice}" if page.slice else page.service
    on = ", ".join(page.on[:_NAMED]) + (f" and {len(page.on) - _NAMED} more" if len(page.on) > _NAMED else "")
    until = f", until {_shown(page.resolved)}" if page.resolved else ", still firing at the end"
    return (
        f"{_shown(page.at)}  {page.rule.replace('_', ' ')} of {whom}"
        + (f": {on}" if on else "")
        + (f"; since {_shown(page.onset)}" if page.onset else "")
        + until
    )


def _achieved(one: Achieved | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return asdict(one) | {
        "per_quarter": one.per_quarter,
        "most_per_quarter": one.most_per_quarter,
        "least_run_length": one.least_run_length,
    }


def _times(count: int) -> str:
    return "time" if count == 1 else "times"


def _shown(value: datetime | None) -> str:
    return "unknown" if value is None else f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
