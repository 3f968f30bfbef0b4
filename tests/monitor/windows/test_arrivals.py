"""Rows that arrive in any order, over any runs: each counts once in a window, is late, or waits."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import FileSource
from featurestore.settings.sections import MonitorConfig
from monitor.windows import Cut, Judged, Position, late_rows, source_stream
from monitor.windows.base import FIRST_INSTANT

_START = datetime(2013, 7, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("lateness", [0, 600])
@given(
    batches=st.lists(st.lists(st.integers(0, 120), min_size=1, max_size=6), min_size=1, max_size=5),
    cut=st.sampled_from(
        [Cut(size=10 * _MINUTE), Cut(size=10 * _MINUTE, minimum_rows=3), Cut(size=3), Cut(size=4, maximum_age=_MINUTE)]
    ),
)
@settings(max_examples=12, deadline=None)
def test_windows_and_late_rows_add_up(lateness: int, batches: list[list[int]], cut: Cut) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Config(root=Path(folder), monitor=MonitorConfig(lateness_seconds=lateness))
        source = FileSource(path="*.parquet", timestamp_field="at")
        ledger: list[Judged] = []
        position: Position | None = None
        for number, minutes in enumerate(batches):
            instants = pa.array([_START + minute * _MINUTE for minute in minutes], pa.timestamp("us", "UTC"))
            pq.write_table(pa.table({"at": instants}), Path(folder) / f"{number}.parquet")
            with source_stream(source, config, name="rows") as stream:
                mark = stream.watermark(now=_START + timedelta(days=1))
                assert mark is not None
                closed = stream.closed_windows(cut, since=position, watermark=mark)
                position = closed.position
                ledger += [Judged(begin=one.begin, stop=one.stop, rows=one.rows) for one in closed.windows]
        total = sum(map(len, batches))
        with source_stream(source, config, name="rows") as stream:
            reached = position or Position(FIRST_INSTANT)
            late = late_rows(stream, ledger, since=Position(FIRST_INSTANT), reached=reached)
            (waiting,) = stream.recount([reached, Position(_START + timedelta(days=1))])
        assert sum(one.rows for one in ledger) + late.total + waiting == total
        in_order = all(max(one) <= min(two) + lateness / 60 for one, two in pairwise(batches))
        if in_order and len(batches) < 3:
            assert late.total == 0
