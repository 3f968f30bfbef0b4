"""Why a served value is another one than the join's: first by the rows that both come from, then by the values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from featurestore.offline.join.computing import NOT_FOUND, PRESENT
from monitor.parity.report import Cause

#: Zones are up to so many hours from each other.
_ZONE_HOURS = 26


class StoredRow(NamedTuple):
    """A row of the offline store; instants are microseconds since 1970.

    Attributes:
        event: its event time.
        known: from when on it could be served: as its load was published, or by the delay that the view declares.
        values: some of its features, as they are stored.
    """

    event: int
    known: int
    values: Mapping[str, Any]


class Seen(NamedTuple):
    """What one side has of a view for one entity row.

    Attributes:
        status: 1 PRESENT, 2 NOT_FOUND, 3 OUTSIDE_MAX_AGE.
        event: the event time of the newest row, microseconds since 1970; None if there is none.
    """

    status: int
    event: int | None


class RowCause(NamedTuple):
    """Why the two sides differ by their rows.

    Attributes:
        cause: None if both have the same row, with one status.
        waited: of lag, for how many microseconds the newest known row had been available.
        earlier: the stored rows that may have been served in place of the join's; where there are some, the cause holds
            for a feature only if one of them has the value that was served.
    """

    cause: Cause | None
    waited: int = 0
    earlier: tuple[StoredRow, ...] = ()


SAME_ROW = RowCause(None)


def row_cause(
    served: Seen, joined: Seen, served_at: int, stored: Sequence[StoredRow], *, pushed: bool, replay: bool
) -> RowCause:
    """Return why a view's row that was served is not the join's.

    A row that was known offline when the request came, and is newer than the served one, lags. Where all newer rows
    came to be known later, data is late. A row of the served row's event time that came to be known after the request
    has superseded it. A served row that is newer than all that are stored has been erased or withdrawn, or was pushed
    and is not loaded yet.

    Args:
        served: as the log has it.
        joined: as the join has it now.
        served_at: microseconds since 1970.
        stored: the rows of the key from the older of both rows' event times on, oldest first.
        pushed: whether the view takes pushes, which are online before they are offline.
        replay: whether a rehearsal served, from the offline store as it was then: nothing lags and nothing is late.
    """
    if served.event == joined.event:
        if served.status != joined.status and NOT_FOUND not in (served.status, joined.status):
            return RowCause("ttl")
        return (
            SAME_ROW if replay or served.event is None else _of_one_event_time(served.event, served_at, stored, pushed)
        )
    if replay:
        return SAME_ROW
    if joined.event is None or (served.event is not None and served.event > joined.event):
        return RowCause("erased")
    newer = [one for one in stored if one.event <= served_at and (served.event is None or one.event > served.event)]
    in_time = [one.known for one in newer if one.known <= served_at]
    # An older row explains a value only if it has it. Where none was within its TTL, nothing was served of it.
    older = tuple(one for one in stored if one.event == served.event) if served.status == PRESENT else ()
    # Of the newest that was known: it is the one that should have been served.
    return RowCause("lag", served_at - in_time[-1], older) if in_time else RowCause("late data", earlier=older)


def _of_one_event_time(event: int, served_at: int, stored: Sequence[StoredRow], pushed: bool) -> RowCause:
    tied = [one for one in stored if one.event == event]
    if len(tied) > 1:
        newest = tied[-1].known
        if newest > served_at:
            return RowCause("superseded", earlier=tuple(one for one in tied if one.known <= served_at))
        return RowCause("lag", served_at - newest, tuple(tied))  # the correction was there, and was not yet online
    if tied and tied[0].known > served_at and not pushed:
        return RowCause("superseded")  # what was served then is gone, and this stands in its place
    return SAME_ROW


def value_cause(served: Any, joined: Any, default: Any = None) -> tuple[Cause, str]:
    """Return why two values of one row differ, and more of it where there is more to say.

    Args:
        served: a value as Python has it, not equal to ``joined``.
        joined: the same.
        default: of the field; None if it has none.
    """
    if served is None or joined is None:
        return "default", "null on one side"
    if default is not None and (served == default or joined == default):
        return "default", "the default on one side"
    said = _cast(served, joined)
    return ("type", said) if said else ("unexplained", "")


def _cast(served: Any, joined: Any) -> str:
    """Return how one value is made of the other by a cast; empty if by none that is known here."""
    if isinstance(served, datetime) and isinstance(joined, datetime):
        apart = abs(served - joined)
        hours = apart // timedelta(hours=1)
        return f"shifted by {hours} h" if apart == timedelta(hours=hours) and hours <= _ZONE_HOURS else ""
    if isinstance(served, date) or isinstance(joined, date):
        return ""
    if isinstance(served, str) and isinstance(joined, str):
        return "a number as text" if _number(served) is not None and _number(served) == _number(joined) else ""
    if isinstance(served, (list, dict)) and isinstance(joined, type(served)):
        return _nested(served, joined)
    for a, b in ((served, joined), (joined, served)):
        for name, cast in _CASTS:
            if _is_number(a) and _is_number(b) and cast(a) == b:
                return name
    return ""


def _nested(served: Any, joined: Any) -> str:
    """Return the one cast by which all parts differ that do."""
    if isinstance(served, dict):
        if served.keys() != joined.keys():
            return ""
        served, joined = [served[key] for key in served], [joined[key] for key in served]
    if len(served) != len(joined):
        return ""
    said = {_cast(a, b) for a, b in zip(served, joined, strict=True) if not _alike(a, b)}
    return said.pop() if len(said) == 1 else ""


def _alike(a: Any, b: Any) -> bool:
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and math.isfinite(value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _as_float32(value: Any) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(float(value)))


_CASTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("one side went through Float32", _as_float32),
    ("one side was cut to an integer", math.trunc),
    ("one side was rounded to an integer", round),
    ("one side went through Float64", float),
)

#: Of several inputs of a computed feature, the one that says most.
WORST: tuple[Cause, ...] = ("ttl", "lag", "late data", "superseded", "erased")


def of_inputs(causes: Sequence[RowCause]) -> RowCause:
    """Return the cause that a computed feature has from the rows of its inputs: the first of :data:`WORST`."""
    found = [(WORST.index(one.cause), one) for one in causes if one.cause in WORST]
    return min(found, key=lambda pair: pair[0])[1] if found else SAME_ROW
