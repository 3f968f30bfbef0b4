"""Files that differ, are damaged, or need not be opened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.config import Config
from featurestore.definitions import Field, FileSource, QuerySource
from featurestore.errors import DataError, DefinitionError, MonitorError, SchemaError, TimestampError
from featurestore.profiles import fit_bins
from featurestore.types import Float64
from monitor.windows import Cut, RowStream, frame_stream, profiled, source_stream

_START = datetime(2013, 7, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_INSTANT = pa.timestamp("us", "UTC")


@pytest.fixture
def stream(tmp_path: Path) -> Callable[[], RowStream]:
    return lambda: source_stream(FileSource(path="*.parquet", timestamp_field="at"), Config(root=tmp_path), name="rows")


def _write(folder: Path, name: str, day: int, **columns: Any) -> None:
    rows = len(next(iter(columns.values())))
    at = pa.array([_START + day * _DAY + number * timedelta(hours=1) for number in range(rows)], _INSTANT)
    pq.write_table(pa.table({"at": at, **columns}), folder / f"{name}.parquet")


def test_a_window_opens_the_files_that_have_rows_of_it_and_no_others(tmp_path: Path, stream: Any) -> None:
    for day in range(5):
        _write(tmp_path, f"day{day}", day, number=[day] * 3)
    with stream() as rows:
        closed = rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + 5 * _DAY)
        assert len(closed.windows) == 5
        for day in (0, 1, 3, 4):
            (tmp_path / f"day{day}.parquet").write_bytes(b"torn")
        with rows.read(closed.windows[2], ["number"]) as reader:
            assert reader.read_all().column("number").to_pylist() == [2, 2, 2]


def test_a_damaged_file_is_named(tmp_path: Path, stream: Any) -> None:
    _write(tmp_path, "whole", 0, number=[1])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    with stream() as rows, pytest.raises(MonitorError, match=r'torn\.parquet of stream "rows" is damaged'):
        rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + _DAY)


def test_a_file_whose_inside_is_damaged_is_named(tmp_path: Path, stream: Any) -> None:
    _write(tmp_path, "inside", 0, number=list(range(24)))
    content = (tmp_path / "inside.parquet").read_bytes()
    (tmp_path / "inside.parquet").write_bytes(b"PAR1" + b"\0" * 400 + content[404:])
    with stream() as rows, pytest.raises(MonitorError, match=r'inside\.parquet of stream "rows" is damaged'):
        rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + _DAY)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (pa.array([[1.0], None]), "text"),
        (pa.array(["a", None]), "text"),
        (pa.array([b"a", None]), "text"),
        (pa.array([{"x": 1}, None]), "text"),
        (pa.array([_START, None], _INSTANT), "text"),
        (pa.array([date(2013, 7, 1), None]), "text"),
        (pa.array([True, None]), "text"),
        (pa.array([1, None], pa.int32()), "number"),
        (pa.array([1.5, None], pa.float32()), "number"),
        (pa.nulls(2), "number"),
    ],
)
def test_a_column_of_two_types_comes_as_text_and_never_ends_the_stream(
    tmp_path: Path, stream: Any, other: Any, expected: str
) -> None:
    _write(tmp_path, "one", 0, number=pa.array([1, 2, None], pa.int64()))
    _write(tmp_path, "two", 0, number=other)
    with stream() as rows:
        (window,) = rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + _DAY).windows
        with rows.read(window, ["number"]) as reader:
            column = reader.read_all().column("number")
    assert len(column) == window.rows == 5
    assert pa.types.is_string(column.type) == (expected == "text")
    assert column.null_count == (3 if pa.types.is_null(other.type) else 2)


def test_a_column_that_vanished_is_null_beside_files_that_have_it_and_left_out_where_none_has(
    tmp_path: Path, stream: Any
) -> None:
    _write(tmp_path, "with", 0, number=[1.0, 2.0], other=[1, 1])
    _write(tmp_path, "without", 0, other=[1, 1])
    _write(tmp_path, "later", 1, other=[1, 1])
    bins = fit_bins(pa.table({"number": [1.0, 2.0]}), [Field(name="number", dtype=Float64)])
    with stream() as rows:
        first, second = rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + 2 * _DAY).windows
        assert (profiled(rows, first, bins).nulls("number"), first.rows) == (2, 4)
        assert (profiled(rows, second, bins).nulls("number"), second.rows) == (2, 2)
        assert rows.schema().names == ["at", "number", "other"]


def test_rows_without_an_instant_are_in_no_window_and_counted(tmp_path: Path, stream: Any) -> None:
    at = pa.array([_START, None, datetime(1, 1, 1, tzinfo=UTC), None], _INSTANT)
    pq.write_table(pa.table({"at": at}), tmp_path / "a.parquet")
    with stream() as rows:
        closed = rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + _DAY)
    assert ([one.rows for one in closed.windows], closed.undated) == ([1], 3)


def test_instants_beyond_every_calendar_are_in_no_window_and_no_period(tmp_path: Path, stream: Any) -> None:
    at = pa.array([0, 1 << 62, -(1 << 62)], pa.int64()).cast(_INSTANT)
    pq.write_table(pa.table({"at": at}), tmp_path / "a.parquet")
    with stream() as rows:
        assert rows.watermark(now=_START) == datetime(1970, 1, 1, tzinfo=UTC)
        assert rows.period(None, None).rows == 1
        assert [one.rows for one in rows.closed_windows(Cut(size=1), since=None, watermark=_START).windows] == [1]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_instants_of_every_unit_and_dates_are_read(tmp_path: Path, stream: Any, unit: str) -> None:
    at = pa.array([_START, _START + _DAY - timedelta(milliseconds=1), _START + _DAY], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"at": at.cast(pa.timestamp(unit, "UTC"))}), tmp_path / "a.parquet")
    with stream() as rows:
        closed = rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + 2 * _DAY)
        assert [one.rows for one in closed.windows] == [2, 1]
        by_count = rows.closed_windows(Cut(size=2), since=None, watermark=_START + 2 * _DAY)
        assert [one.rows for one in by_count.windows] == [2]
        assert by_count.windows[0].end == _START + _DAY - timedelta(milliseconds=1) + timedelta(microseconds=1)


def test_dates_are_their_midnights(tmp_path: Path, stream: Any) -> None:
    pq.write_table(pa.table({"at": [date(2013, 7, 1), date(2013, 7, 2)]}), tmp_path / "a.parquet")
    with stream() as rows:
        closed = rows.closed_windows(Cut(size=_DAY), since=None, watermark=_START + 2 * _DAY)
    assert [(one.start, one.rows) for one in closed.windows] == [(_START, 1), (_START + _DAY, 1)]


def test_what_cannot_be_a_stream_is_said(tmp_path: Path) -> None:
    config = Config(root=tmp_path)
    with pytest.raises(DataError, match="No file matches"):
        source_stream(FileSource(path="none/*.parquet"), config, name="rows").period(None, None)
    with pytest.raises(MonitorError, match="has no name"):
        source_stream(FileSource(path="a.parquet"), config)
    with pytest.raises(MonitorError, match="rows are read for a view") as caught:
        source_stream(QuerySource(query="SELECT 1", connection="db"), config, name="rows")
    assert "view_stream" in caught.value.hint
    naive = pa.table({"at": pa.array([datetime(2013, 7, 1)], pa.timestamp("us"))})  # noqa: DTZ001 - is refused
    with pytest.raises(TimestampError, match="is TIMESTAMP"):
        frame_stream(naive, config, name="rows", time_column="at").period(None, None)
    with pytest.raises(SchemaError, match='no column "when"'):
        frame_stream(naive, config, name="rows", time_column="when").period(None, None)
    with pytest.raises(MonitorError, match="has the size 0"):
        Cut(size=0)


@pytest.mark.parametrize(
    "where", ["number >", "gone = 1", "1 = 1) UNION ALL SELECT * FROM x WHERE (1 = 1", "random() < 1"]
)
def test_a_filter_that_cannot_be_one_is_refused(tmp_path: Path, stream: Any, where: str) -> None:
    _write(tmp_path, "a", 0, number=[1, 2])
    with stream() as rows:
        window = rows.period(None, None)
        with pytest.raises((MonitorError, DefinitionError)) as caught, rows.read(window, where=where):
            pass
        assert where.split()[0] in str(caught.value).casefold()
