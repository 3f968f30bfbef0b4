"""Parts of a payload -> phrases. Pure; what a payload lacks is left out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from monitor.alerts.plot import sparkline

_SHORT = {
    "kolmogorov_smirnov": "KS",
    "total_variation": "TV",
    "null_rate": "null rate",
    "nan_rate": "NaN rate",
    "unseen_rate": "unseen categories",
    "out_of_range_rate": "out of range",
    "wasserstein": "W1 in standard deviations",
}
#: How many of each are named; the rest is counted.
SHOWN_FEATURES, SHOWN_REASONS, SHOWN_MEMBERS = 6, 6, 5
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?Z")


def instant(text: str) -> str:
    """Return an instant of protobuf's JSON form as people read it: ``2026-05-01 12:00 UTC``."""
    found = _INSTANT.fullmatch(text)
    return f"{found[1]} {found[2]} UTC" if found else text


def evidence(values: Mapping[str, Any]) -> str:
    """Return the evidence against its limit; "" where nothing was held against one."""
    if not float(values.get("logLimit") or 0):
        return ""
    return (
        f"ln {number(values.get('logValue', 0), '.2f')} against a limit of ln {number(values['logLimit'], '.2f')} "
        f"after {values.get('windows', 0)} windows"
    )


def found(payload: Mapping[str, Any], *, blocks: bool = True) -> list[str]:
    """Return what was found, an item a line, the worst first: reasons, features, alerts.

    Args:
        payload: of an alert or a retraining signal.
        blocks: whether a picture of blocks stands between them.
    """
    reasons, features = payload.get("reasons", ()), payload.get("features", ())
    more = int(payload.get("featuresLeftOut", 0))
    return [
        *_some(reasons[:SHOWN_REASONS], len(reasons), "reasons"),
        *_some([finding(one) for one in features[:SHOWN_FEATURES]], len(features) + more, "features"),
        *(sparkline(payload) if blocks else ()),
        *_members(payload),
    ]


def finding(values: Mapping[str, Any]) -> str:
    """Return a finding of one feature: its effect with interval and threshold, what it was and is."""
    statistic = values.get("statistic", "")
    text = (
        f"{values.get('feature', '')}: {_SHORT.get(statistic, statistic)} {number(values.get('effect', 0), '.2f')} "
        f"[{number(values.get('effectLow', 0), '.2f')}, {number(values.get('effectHigh', 0), '.2f')}], "
        f"threshold {number(values.get('threshold', 0), 'g')}"
    )
    if "baselineMean" in values and "currentMean" in values:
        text += f"; mean {number(values['baselineMean'], '.4g')} -> {number(values['currentMean'], '.4g')}"
    before, after = float(values.get("baselineNullRate", 0)), float(values.get("currentNullRate", 0))
    if before or after:
        text += f"; null {number(before, '.1%')} -> {number(after, '.1%')}"
    rows = int(values.get("baselineRows", 0)), int(values.get("currentRows", 0))
    if any(rows):
        text += f"; rows {rows[0]:,} and {rows[1]:,}"
    return text + (f"; of {values['source']}" if values.get("source") else "")


def number(value: Any, form: str) -> str:
    """Return a number of protobuf's JSON form, where one that is not finite is a text."""
    real = float(value)
    return format(real, form) if math.isfinite(real) else str(real)


def _members(payload: Mapping[str, Any]) -> list[str]:
    members = payload.get("members", ())
    total = len(members) + int(payload.get("membersLeftOut", 0))
    return _some([_member(one) for one in members[:SHOWN_MEMBERS]], total, "alerts") if total > 1 else []


def _member(values: Mapping[str, Any]) -> str:
    part = f" ({values['slice']})" if values.get("slice") else ""
    state = str(values.get("state", "")).removeprefix("ALERT_STATE_").replace("_", " ").lower()
    said = values.get("summary") or str(values.get("rule", "")).replace("_", " ")
    return f"alert of {values.get('policy', '')} on {values.get('service', '')}{part}, {state}: {said}"


def _some(texts: Sequence[str], total: int, noun: str) -> list[str]:
    rest = total - len(texts)
    return [*texts, *([f"and {rest:,} more {noun}"] if rest > 0 else [])]
