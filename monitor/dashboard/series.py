"""How far a feature was from its baseline, window by window, out of what the monitor decided.

A decision is about every feature of its stream: with a thousand of them it is a megabyte, and a quarter of hourly
windows has two thousand. So some :data:`MOST` windows are read, evenly spread, and of each only the text of this one
feature is parsed. What was decided does not change: what was read of a window is kept, and a page that is renewed
because of a new one reads the new one.

Of a vector nothing is judged as it stands, but numbers that are taken from it: its length, its norm, its places along
some directions. Each of them has a series of its own, under its own name: ``vector.norm``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from featurestore.types import microseconds
from monitor import schema
from monitor.dashboard.facts import Facts
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
        version: the policy's.
        service: the service version.
        baseline: what it is compared with; "" where there is nothing yet.
        database: the random name of the monitor's database.
    """

    policy: str
    version: int
    service: str
    baseline: str
    database: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one window said of a feature.

    Attributes:
        start: of the window.
        end: the same.
        rows: that it had.
        judged_rows: that the verdict is of: those of the windows before it too, while an alert goes on.
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
    judged_rows: int
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


#: What was decided of a window, of a feature: by what was judged, its own name or those of numbers that are taken from
#: a vector.
Decided = Mapping[str, Point]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the newest window of a stream said of a feature, in all rows or in a slice of them.

    Attributes:
        slice: which; "" for all rows.
        version: of the policy.
        baseline: what it was compared with: a slice has one of its own.
        points: what was decided.
    """

    slice: str
    version: int
    baseline: str
    points: Decided


def streams_of(connection: Connection, current: Mapping[str, int]) -> list[Stream]:
    """Return every stream that is watched: of each the one of its policy's current version.

    Where that has none yet, the one of the newest version that has.

    Args:
        connection: a transaction.
        current: by policy, its current version, which need not be the newest; see :meth:`Reader.policies
            <monitor.dashboard.reading.Reader.policies>`.
    """
    table, meta = schema.streams, schema.meta
    database = connection.execute(select(meta.c.value).where(meta.c.key == "instance")).scalar_one()
    query = select(table).order_by(table.c.policy, table.c.service, table.c.policy_version.desc())
    found: dict[tuple[str, str], Stream] = {}
    for row in sorted(connection.execute(query).all(), key=lambda one: current.get(one.policy) != one.policy_version):
        one = Stream(
            policy=row.policy,
            version=row.policy_version,
            service=row.service,
            baseline=row.baseline,
            database=database,
        )
        found.setdefault((row.policy, row.service), one)
    return [found[key] for key in sorted(found)]


def newest(connection: Connection, decided: Facts[Decided], stream: Stream, feature: str) -> list[Judged]:
    """Return what the newest window said of a feature: of all rows first, then of each slice, those by name.

    Args:
        connection: a transaction.
        decided: what was read before.
        stream: whose window.
        feature: its name.
    """
    table = schema.windows
    mine = (table.c.policy == stream.policy) & (table.c.service == stream.service)
    order = (table.c.window_start.desc(), table.c.window_offset.desc(), table.c.policy_version.desc())
    keys = (table.c.policy_version, table.c.window_start, table.c.window_offset)
    last = connection.execute(select(*keys).where(mine, table.c.slice == "").order_by(*order).limit(1)).one_or_none()
    if last is None:
        return []
    this = [column == value for column, value in zip(keys, last, strict=True)]
    query = select(table.c.slice, table.c.baseline).where(mine, *this).order_by(table.c.slice)
    return [
        Judged(
            slice=row.slice,
            version=last.policy_version,
            baseline=row.baseline,
            points=_decided(connection, decided, stream, row.slice, tuple(last), feature),
        )
        for row in connection.execute(query).all()
    ]


def _decided(
    connection: Connection,
    decided: Facts[Decided],
    stream: Stream,
    slice_: str,
    window: tuple[int, int, int],
    feature: str,
) -> Decided:
    """Return what was decided of a window, of a feature.

    Args:
        connection: a transaction.
        decided: what was read before.
        stream: whose window.
        slice_: "" for all rows.
        window: the version of its policy, its start and its offset.
        feature: its name.
    """

    def read() -> Decided:
        table = schema.windows
        version, start, offset = window
        row = connection.execute(
            select(table.c.window_start, table.c.window_end, table.c.rows, table.c.decision).where(
                table.c.policy == stream.policy,
                table.c.policy_version == version,
                table.c.service == stream.service,
                table.c.slice == slice_,
                table.c.window_start == start,
                table.c.window_offset == offset,
            )
        ).one()
        return {str(one["feature"]): _point(row, one) for one in _findings(row.decision, feature)}

    return decided.get((stream.database, stream.policy, stream.service, slice_, window, feature), read)


def profiles(connection: Connection, stream: Stream, judged: Judged, rows: int) -> list[bytes]:
    """Return the profiles of the newest windows that have so many rows together, the newest first.

    Args:
        connection: a transaction.
        stream: whose windows.
        judged: the slice, and what it was compared with: profiles of other bins are no help.
        rows: that are wanted; at most :data:`MOST` windows are read for them.
    """
    table = schema.windows
    query = (
        select(table.c.rows, table.c.profile)
        .where(
            table.c.policy == stream.policy,
            table.c.policy_version == judged.version,
            table.c.service == stream.service,
            table.c.slice == judged.slice,
            table.c.baseline == judged.baseline,
        )
        .order_by(table.c.window_start.desc(), table.c.window_offset.desc())
        .limit(MOST)
    )
    found, total = [], 0
    for row in connection.execute(query):
        found.append(row.profile)
        total += row.rows
        if total >= rows:
            break
    return found


def points(
    connection: Connection, decided: Facts[Decided], stream: Stream, judged: str, *, days: int, slice_: str = ""
) -> list[Point]:
    """Return what the windows of the last days said of a feature, the oldest first, evenly spread.

    Args:
        connection: a transaction.
        decided: what was read before.
        stream: whose windows.
        judged: the feature's name, or that of a number that is taken from it.
        days: before the last window.
        slice_: "" for all rows.
    """
    table = schema.windows
    mine = (table.c.policy == stream.policy) & (table.c.service == stream.service) & (table.c.slice == slice_)
    last = connection.execute(select(func.max(table.c.window_start)).where(mine)).scalar()
    if last is None:
        return []
    span = timedelta(days=days)
    keys = connection.execute(
        select(func.max(table.c.policy_version), table.c.window_start, table.c.window_offset)
        .where(mine, table.c.window_start >= microseconds((instant(last) or EPOCH) - span))
        .group_by(table.c.window_start, table.c.window_offset)
        .order_by(table.c.window_start, table.c.window_offset)
    ).all()
    windows = _spread([(int(one[0]), int(one[1]), int(one[2])) for one in keys], span)
    feature = judged.partition(".")[0]
    found = (_decided(connection, decided, stream, slice_, window, feature).get(judged) for window in windows)
    return [one for one in found if one is not None]


def _spread(windows: list[tuple[int, int, int]], span: timedelta) -> list[tuple[int, int, int]]:
    """Return some of the windows of a time, evenly spread, the last among them.

    They are the last ones of each part of the time, and the parts begin where they always do: so a new window leaves
    the others that are chosen as they are. Where few parts have any, they are chosen by their number.
    """
    if len(windows) <= MOST:
        return windows
    part = span // timedelta(microseconds=1) // MOST
    chosen = list({window[1] // part: window for window in windows}.values())
    if len(chosen) < MOST // 2:
        chosen = [windows[round(number * (len(windows) - 1) / (MOST - 1))] for number in range(MOST)]
    return chosen


def _findings(decision: str, feature: str) -> Iterator[Mapping[str, Any]]:
    """Yield what a decision says of one feature, or of what is taken from it; nothing where it says nothing."""
    # As json.dumps writes the first attribute of a finding; names of features elsewhere have no such neighbour.
    begins = '{"feature": ' + json.dumps(feature)[:-1]
    start = decision.find(begins)
    while start >= 0:
        end = start + len(begins)
        if decision[end] in '".':  # a longer name goes on in another way
            yield _DECODER.raw_decode(decision, start)[0]
        start = decision.find(begins, end)


def _point(row: Any, one: Mapping[str, Any]) -> Point:
    return Point(
        start=instant(row.window_start) or EPOCH,
        end=instant(row.window_end) or EPOCH,
        rows=int(row.rows),
        judged_rows=int(one["current_rows"]),
        verdict=str(one["verdict"]),
        statistic=str(one["statistic"]).replace("_", " "),
        effect=_number(one["effect"]),
        low=_number(one["effect_low"]),
        high=_number(one["effect_high"]),
        threshold=_number(one["threshold"]),
        nulls=float(one["current_null_rate"]),
        baseline_nulls=float(one["baseline_null_rate"]),
        moves=tuple(one.get("moves", ())),
    )


def _number(value: float | None) -> float:
    """Return a number; NaN for null, as which the ledger keeps what JSON has not."""
    return math.nan if value is None else float(value)
