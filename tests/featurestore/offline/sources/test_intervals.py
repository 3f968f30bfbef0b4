"""Intervals: what is said to DuckDB and what is looked up row by row are the same, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.offline.intake.conform import instants
from featurestore.offline.sources.intervals import INSTANTS, Interval, earlier

START = datetime(2013, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
#: Midnights, their neighbours, and the ends of what the types hold.
_INSTANTS = st.sampled_from(
    [START + days * timedelta(days=1) + step * _US for days in range(3) for step in (-1, 0, 1)]
    + [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime(1700, 1, 1, tzinfo=UTC)]
)
_ARROW = {
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
    "TIMESTAMPTZ_NS": pa.timestamp("ns", "UTC"),
    "DATE": pa.date32(),
}


@pytest.mark.parametrize("dtype", INSTANTS)
@settings(deadline=None, max_examples=60)
@given(
    start=st.none() | _INSTANTS,
    end=st.none() | _INSTANTS,
    values=st.lists(st.none() | _INSTANTS, min_size=1, max_size=8),
)
def test_duckdb_and_arrow_agree_on_which_rows_lie_within(
    dtype: str, start: datetime | None, end: datetime | None, values: list[datetime | None]
) -> None:
    if dtype == "TIMESTAMPTZ_NS":
        values = [one for one in values if one is None or one.year == START.year]
    column = pa.array(values, pa.timestamp("us", "UTC")).cast(_ARROW[dtype], safe=False)
    interval = Interval(start, end)
    stored, _ = instants(column, "at", "rows")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("r", pa.table({"at": column, "place": pa.array(range(len(column)))}))
        found = connection.sql(f"SELECT place FROM r WHERE {interval.condition('r.at', dtype)} ORDER BY 1").fetchall()
    assert [place for (place,) in found] == [place for place, held in enumerate(interval.holds(stored)) if held.as_py()]


def test_the_start_is_within_and_the_end_is_not() -> None:
    column = pa.array([START - _US, START, START + _US, None], pa.timestamp("us", "UTC"))
    assert Interval(START, START + _US).holds(column).to_pylist() == [False, True, False, False]


def test_no_calendar_goes_back_for_ever() -> None:
    assert earlier(datetime.min.replace(tzinfo=UTC) + timedelta(days=1), timedelta(days=2)) is None
    assert Interval(START, None).begun_earlier(timedelta(days=1)) == Interval(START - timedelta(days=1), None)
    last = datetime.max.replace(tzinfo=UTC)
    assert Interval(datetime.min.replace(tzinfo=UTC), last).widened() == Interval(None, last)


def test_it_reads_as_a_sentence() -> None:
    assert str(Interval(None, START)) == "from the beginning to 2013-01-01T00:00:00Z"
    assert str(Interval(START, None)) == "from 2013-01-01T00:00:00Z to the end"
