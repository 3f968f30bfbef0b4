"""An interval of time, and which rows lie in it: said to DuckDB, and looked up row by row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

#: Columns that hold instants, as DuckDB names their types. What names no time zone is none of them.
INSTANTS = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS", "DATE")

#: The first and the last instant that a type can hold, where it holds less than Python's: 64 bits of nanoseconds, in
#: whole microseconds, and the midnights of dates.
_HELD = {
    "TIMESTAMPTZ_NS": (
        datetime(1677, 9, 21, 0, 12, 43, 145225, tzinfo=UTC),
        datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC),
    ),
    "DATE": (datetime.min.replace(tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)),
}
_MICROSECOND = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Interval:
    """The instants from ``start`` on and before ``end``, in UTC; None is for ever."""

    start: datetime | None
    end: datetime | None

    def begun_earlier(self, by: timedelta) -> Interval:
        """Return the interval that begins so much earlier and ends with this one."""
        return Interval(None if self.start is None else earlier(self.start, by), self.end)

    def widened(self) -> Interval:
        """Return the interval and a microsecond on either side: a column of nanoseconds may be rounded into it."""
        start = None if self.start is None else earlier(self.start, _MICROSECOND)
        return Interval(start, self.end if self.end in (None, _LAST) else self.end + _MICROSECOND)

    def condition(self, column: str, dtype: str) -> str:
        """Return SQL that is true for values of a column within the interval; false or null for the others.

        The bounds are literals of the column's own type: so DuckDB leaves out row groups by their statistics.

        Args:
            column: SQL for the column.
            dtype: one of :data:`INSTANTS`.
        """
        start, end = self.start, self.end
        if dtype in _HELD:
            # A bound beyond what the type holds leaves out every value, or none.
            first, last = _HELD[dtype]
            if (start is not None and start > last) or (end is not None and end <= first):
                return "false"
            start = None if start is None or start < first else start
            end = None if end is None or end > last else end
        bounds = [(sign, at) for sign, at in ((">=", start), ("<", end)) if at is not None]
        listed = [f"{column} {sign} {_literal(at, dtype)}" for sign, at in bounds]
        return " AND ".join(listed) or f"{column} IS NOT NULL"

    def holds(self, instants: pa.Array) -> pa.Array:
        """Return for each instant, in microseconds UTC, whether it lies in the interval; a null does not."""
        held = pc.is_valid(instants)
        if self.start is not None:
            held = pc.and_kleene(held, pc.greater_equal(instants, pa.scalar(self.start, instants.type)))
        if self.end is not None:
            held = pc.and_kleene(held, pc.less(instants, pa.scalar(self.end, instants.type)))
        return held

    def __str__(self) -> str:
        start = "the beginning" if self.start is None else shown(self.start)
        return f"from {start} to {'the end' if self.end is None else shown(self.end)}"


def earlier(instant: datetime, by: timedelta) -> datetime | None:
    """Return the instant so much before another one; None for ever before, as no calendar goes back so far."""
    try:
        return instant - by
    except OverflowError:
        return None


def later(instant: datetime, by: timedelta) -> datetime:
    """Return the instant so much after another one, or the last of the calendar."""
    try:
        return instant + by
    except OverflowError:
        return _LAST


def shown(instant: datetime) -> str:
    """Return an instant as people read it."""
    return instant.isoformat().replace("+00:00", "Z")


def _literal(at: datetime, dtype: str) -> str:
    if dtype != "DATE":
        return f"CAST('{at.isoformat()}' AS {dtype})"
    # A date is its midnight: it lies at or after an instant if it is that of the next midnight, or a later one.
    whole = at.time() == datetime.min.time()
    return f"DATE '{(at.date() if whole else at.date() + timedelta(days=1)).isoformat()}'"
