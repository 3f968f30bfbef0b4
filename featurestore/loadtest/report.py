"""A result for the eyes: as text at a terminal, as a picture."""

from __future__ import annotations

from collections.abc import Iterator

from featurestore.loadtest.result import Check, Result
from featurestore.plots import Chart, Line, Panel, chart


def lines(result: Result) -> Iterator[str]:
    """Yield what a person wants to know, the verdict last."""
    yield f"{result.service} at {result.server}: {result.asked}"
    yield f"  rows        {result.rows}"
    sent = f"{result.requests:,} requests, {result.answered:,} answered, {result.errors:.2%} errors"
    yield f"  requests    {sent}{_codes(result)}"
    yield f"  rate        {result.achieved_rate:,.1f}/s of {result.asked_rate:,.1f}/s asked, in {result.seconds:.1f} s"
    yield "  latency     " + "  ".join(
        f"{'max' if percent == 100 else f'p{percent:g}'} {duration(seconds)}"
        for percent, seconds in result.latency.items()
    )
    for name, shares in (("statuses", result.row_statuses), ("answered by", result.services)):
        if shares:
            yield f"  {name:11} " + ", ".join(f"{one} {share:.1%}" for one, share in shares.items())
    held = f"; {result.held:,} requests waited for others to be answered" if result.held else ""
    yield f"  senders     late by {duration(result.lag)} (p99), {duration(result.longest_lag)} at most{held}"
    if result.steps and result.saturation is not None:
        beyond = "" if result.saturated else " at least: the ramp did not go beyond it"
        yield f"  saturation  {result.saturation:,.0f} requests/s{beyond}"
    elif result.saturated:
        yield "  saturation  below the beginning of the ramp"
    yield f"  request ids loadtest-{result.run}-*"
    if result.interrupted:
        yield "  STOPPED before its end"
    for check in result.checks:
        yield f"  {'reached' if check.holds else 'MISSED':11} {check.target} (measured {measured(check)})"
    if result.invalid:
        yield f"INVALID: {result.invalid}. Use more --processes, a lower rate, or a machine of its own."
    elif result.checks:
        yield "PASSED" if result.passed else "FAILED"


def _codes(result: Result) -> str:
    others = [f"{count:,} {code}" for code, count in result.codes.items() if code != "OK"]
    return f" ({', '.join(others)})" if others else ""


def duration(seconds: float | None) -> str:
    """Return a duration in the unit that suits it.

    >>> duration(0.000_25), duration(0.012), duration(2.5), duration(None)
    ('0.25 ms', '12.0 ms', '2.50 s', '-')
    """
    if seconds is None:
        return "-"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2f} ms"


def measured(check: Check) -> str:
    """Return what a target measured, in the unit of its kind."""
    if check.value is None:
        return "nothing"
    if check.target.startswith("errors"):
        return f"{check.value:.2%}"
    return f"{check.value:,.0f}/s" if check.target.startswith("rate") else duration(check.value)


def drawn(result: Result) -> Chart:
    """Return latency and rate over time; of a ramp over the rate that was asked for.

    Raises:
        ConfigError: what draws is not installed.
    """
    ramp = result.saturation is not None or result.saturated
    x = [step.asked if ramp else step.second for step in result.steps]
    title = "requests/s asked" if ramp else "seconds"
    latency = [
        Line(name=f"p{one:g}", x=x, y=[_milliseconds(step.latency[one]) for step in result.steps])
        for one in (50.0, 99.0)
    ]
    rates = [
        Line(name="asked", x=x, y=[step.asked for step in result.steps]),
        Line(name="achieved", x=x, y=[step.achieved for step in result.steps]),
    ]
    return chart(
        f"{result.service}: {result.asked}",
        [
            Panel(x=title, y="latency, ms", lines=latency, logarithmic=True),
            Panel(x=title, y="requests/s", lines=rates),
        ],
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
