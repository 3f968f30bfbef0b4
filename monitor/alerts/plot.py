"""The shares of a feature's rows, before and now: as a small picture, and as a line of text where none can be shown.

Drawn from what the message holds, so only what may leave is in it: a field tagged ``pii`` has no histogram there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featurestore import plots
from featurestore.errors import ConfigError
from monitor.alerts.lines import shortened

#: Bars that people can tell apart in a picture as wide as a phone.
BARS = 24
#: Bytes of a picture; a larger one is not sent.
LARGEST = 60_000
_WIDTH, _HEIGHT, _SCALE = 420, 160, 1.5
_BLOCKS = "▁▂▃▄▅▆▇█"
_LABEL, _TITLE = 20, 60


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Shares of the rows of one feature.

    Attributes:
        feature: its name.
        labels: of the bins or categories.
        before: shares of the baseline's rows, at least 0.
        now: the same of the current rows.
        ends: the first and the last bin or category, before neighbours were added up.
        rows: rows of the baseline, and current ones.
    """

    feature: str
    labels: tuple[str, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]
    ends: tuple[str, str]
    rows: tuple[int, int]


def shares(payload: Mapping[str, Any], limit: int = BARS) -> Shares | None:
    """Return the shares of the first feature that has any; None if none has.

    Args:
        payload: of an alert or a retraining signal.
        limit: how many bins or categories; neighbours are added up to come down to it.
    """
    for one in payload.get("features", ()):
        histogram = one.get("histogram") or {}
        labels = [shortened(str(label), _LABEL) for label in histogram.get("labels", ())]
        before, now = _finite(histogram.get("baseline", ())), _finite(histogram.get("current", ()))
        if labels and len(labels) == len(before) == len(now) and (any(before) or any(now)):
            size = -(-len(labels) // limit)
            groups = [slice(start, start + size) for start in range(0, len(labels), size)]
            return Shares(
                feature=shortened(str(one.get("feature", "")), _TITLE),
                labels=tuple(_joined(labels[group]) for group in groups),
                before=tuple(math.fsum(before[group]) for group in groups),
                now=tuple(math.fsum(now[group]) for group in groups),
                ends=(labels[0], labels[-1]),
                rows=(int(one.get("baselineRows", 0)), int(one.get("currentRows", 0))),
            )
    return None


def caption(payload: Mapping[str, Any]) -> str:
    """Return what a picture shows, for those who do not see it; "" if there is none."""
    found = shares(payload)
    if found is None:
        return ""
    before, now = (f" ({rows:,} rows)" if rows else "" for rows in found.rows)
    return f"{found.feature}: share of rows, before{before} and now{now}"


def sparkline(payload: Mapping[str, Any], limit: int = BARS) -> tuple[str, ...]:
    """Return a caption and two lines of blocks of one scale, before and now; nothing where there is nothing to show."""
    found = shares(payload, limit)
    if found is None:
        return ()
    top = max(*found.before, *found.now)

    def drawn(row: Sequence[float]) -> str:
        return "".join(_BLOCKS[round(share / top * (len(_BLOCKS) - 1))] for share in row)

    first, last = found.ends
    return (
        f"{caption(payload)}; from {first} on the left to {last}",
        f"before  {drawn(found.before)}",
        f"now     {drawn(found.now)}",
    )


def png(payload: Mapping[str, Any]) -> bytes | None:
    """Return a picture of at most :data:`LARGEST` bytes.

    None where there is nothing to show, or pictures cannot be drawn: the extra ``plots`` is not installed. A message
    goes without one then.
    """
    found = shares(payload)
    if found is None:
        return None
    bars = plots.Bars(
        labels=distinct(found.labels),
        series={"before": found.before, "now": found.now},
        y="share of rows",
    )
    try:
        drawn = plots.png(plots.bars(found.feature, bars, width=_WIDTH, height=_HEIGHT), scale=_SCALE)
    except (ConfigError, ValueError):  # ValueError: it cannot be drawn
        return None
    return drawn if len(drawn) <= LARGEST else None


def _finite(values: Sequence[Any]) -> list[float]:
    """Return shares as numbers; what is none, or no share, is 0."""
    numbers = [float(value) for value in values]
    return [number if math.isfinite(number) and number > 0 else 0.0 for number in numbers]


def _joined(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{labels[0]} to {labels[-1]}"


def distinct(labels: Sequence[str]) -> list[str]:
    """Return the labels, told apart by trailing spaces where two read alike: a bar would cover the other."""
    seen: dict[str, int] = {}
    distinct = []
    for label in labels:
        seen[label] = seen.get(label, -1) + 1
        distinct.append(label + " " * seen[label])
    return distinct
