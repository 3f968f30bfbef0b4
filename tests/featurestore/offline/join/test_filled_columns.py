"""Columns that are filled in any order hold each value as it came, and null where none did."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore.offline.join.filled_columns import FilledColumns, column_bytes, is_filled
from featurestore.types import (
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    DType,
    Embedding,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
)

VALUES: dict[DType, list[Any]] = {
    Bool: [True, False],
    Int32: [-(2**31), 7],
    Int64: [2**63 - 1, -1],
    Float32: [-0.0, 1.5],
    Float64: [float("inf"), -0.0],
    Date: [date(1, 1, 1), date(2024, 2, 29)],
    Timestamp: [datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)],
}


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("nulls", [False, True])
def test_values_come_back_where_they_were_put(dtype: DType, nulls: bool) -> None:
    first, second = VALUES[dtype]
    arrow = dtype.to_arrow()
    columns = FilledColumns({"x": arrow, "y": arrow}, 21)
    # Parts of arrays, which do not begin with a byte.
    chunks = [pa.array([None, second, first, second, None if nulls else first], arrow).slice(1)] * 2
    other = pa.chunked_array([pa.array([first] * 8, arrow)])
    positions = np.array([20, 3, 5, 4, 9, 8, 0, 17])
    given = pa.table({"other": other, "x": pa.chunked_array(chunks), "y": other})
    columns.fill(given, positions)
    expected: dict[str, list[Any]] = {"x": [None] * 21, "y": [None] * 21}
    for name, held in expected.items():
        for position, value in zip(positions.tolist(), given[name].to_pylist(), strict=True):
            held[position] = value
    for start, rows in ((0, 21), (0, 10), (3, 9), (17, 4), (5, 0)):
        made = columns.columns(start, rows)
        for name, held in expected.items():
            made[name].validate(full=True)
            assert made[name].type == arrow
            assert repr(made[name].to_pylist()) == repr(held[start : start + rows])


def test_a_nan_keeps_its_bits() -> None:
    bits = 0x7FF8_0000_DEAD_BEEF
    nan = struct.unpack("<d", struct.pack("<Q", bits))[0]
    columns = FilledColumns({"x": pa.float64()}, 1)
    columns.fill(pa.table({"x": pa.array(np.array([nan]))}), np.array([0]))
    assert columns.columns(0, 1)["x"].view(pa.uint64()).to_pylist() == [bits]


@pytest.mark.parametrize("dtype", [String, Bytes, Decimal(10, 2), Array(Int64), Embedding(2), Struct({"a": Int64})])
def test_other_types_are_not_filled(dtype: DType) -> None:
    assert not is_filled(dtype.to_arrow())


def test_what_a_column_takes_is_known() -> None:
    assert all(is_filled(dtype.to_arrow()) for dtype in VALUES)
    assert [column_bytes(dtype.to_arrow(), 100) for dtype in (Bool, Int32, Float64)] == [200, 500, 900]
