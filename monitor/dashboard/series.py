"""How far a feature was from its baseline, window by window, out of what the monitor decided.

A decision is about every feature of its stream: with a thousand of them it is a megabyte, and a quarter of hourly
windows has two thousand. So at most :data:`MOST` windows are read, evenly spread, and of each only the text of this
one feature is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from featurestore.types import microseconds
from monitor import schema
from monitor.history import instant
from monitor.history.values import EPOCH

#: Windows of a series.
MOST = 60
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A stream that a policy watches.

    Attributes:
        policy: its name.
        service: the service version.
        baseline: what it is compared with; "" where there is nothing yet.
    """

    policy: str
    service: str
    baseline: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one window said of a feature.

    Attributes:
        start: of the window.
        end: the same.
        rows: that it had.
        verdict: of the feature.
        statistic: which effect is shown.
        effect: between 0 and 1, mostly; see :class:`monitor.decisions.FeatureFinding`.
        low: lower end of its 95 % interval.
        high: upper end.
        threshold: the policy's.
        nulls: share of the rows.
        baseline_nulls: of the baseline's.
        moves: bins that moved most, with their shares; none of a field tagged ``pii``.
    """

    start: datetime
    end: datetime
    rows: int
    verdict: str
    statistic: str
    effect: float
    low: float
    high: float
    threshold: float
    nulls: float
    baseline_nulls: float
    moves: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the point as JSON values, without what moved."""
        values = {key: value for key, value in vars(self).items() if key != "moves"}
        return values | {"start": self.start.isoformat(), "end": self.end.isoformat()}


def streams_of(connection: Connection) -> list[Stream]:
    """Return every stream that is watched, of each policy its newest version."""
    table = schema.streams
    query = select(table).order_by(table.c.policy, table.c.service, table.c.policy_version.desc())
    found: dict[tuple[str, str], Stream] = {}
    for row in connection.execute(query):
        one = Stream(policy=row.policy, service=row.service, baseline=row.baseline)
        found.setdefault((row.policy, row.service), one)
    return list(found.values())


def points(connection: Connection, stream: Stream, feature: str, *, days: int, slice_: str = "") -> list[Point]:
    """Return what the windows of the last days said of a feature, the oldest first, evenly spread.

    Args:
        connection: a transaction.
        stream: whose windows.
        feature: its name.
        days: before the last window.
        slice_: "" for all rows.
    """
    table = schema.windows
    mine = (table.c.policy == stream.policy) & (table.c.service == stream.service) & (table.c.slice == slice_)
    last = connection.execute(select(func.max(table.c.window_start)).where(mine)).scalar()
    if last is None:
        return []
    since = microseconds((instant(last) or EPOCH) - timedelta(days=days))
    keys = connection.execute(
        select(table.c.window_start, table.c.window_offset, func.max(table.c.policy_version).label("version"))
        .where(mine, table.c.window_start >= since)
        .group_by(table.c.window_start, table.c.window_offset)
        .order_by(table.c.window_start, table.c.window_offset)
    ).all()
    found: list[Point] = []
    columns = (table.c.window_start, table.c.window_end, table.c.rows, table.c.decision)
    for key in _spread(keys, MOST):
        this = (
            (table.c.window_start == key.window_start)
            & (table.c.window_offset == key.window_offset)
            & (table.c.policy_version == key.version)
        )
        row = connection.execute(select(*columns).where(mine, this)).one()
        one = _finding(row.decision, feature)
        if one is not None:
            found.append(_point(row, one))
    return found


def _spread(keys: Any, most: int) -> list[Any]:
    """Return at most so many of some, evenly spread, the last among them."""
    if len(keys) <= most:
        return list(keys)
    return [keys[round(number * (len(keys) - 1) / (most - 1))] for number in range(most)]


def _finding(decision: str, feature: str) -> Mapping[str, Any] | None:
    """Return what a decision says of one feature; None where it says nothing."""
    # As json.dumps writes the first attribute of a finding; names of features elsewhere have no such neighbour.
    start = decision.find('{"feature": ' + json.dumps(feature) + ", ")
    if start < 0:
        return None
    found: Mapping[str, Any] = _DECODER.raw_decode(decision, start)[0]
    return found


def _point(row: Any, one: Mapping[str, Any]) -> Point:
    return Point(
        start=instant(row.window_start) or EPOCH,
        end=instant(row.window_end) or EPOCH,
        rows=int(row.rows),
        verdict=str(one["verdict"]),
        statistic=str(one["statistic"]).replace("_", " "),
        effect=float(one["effect"]),
        low=float(one["effect_low"]),
        high=float(one["effect_high"]),
        threshold=float(one["threshold"]),
        nulls=float(one["current_null_rate"]),
        baseline_nulls=float(one["baseline_null_rate"]),
        moves=tuple(one.get("moves", ())),
    )
