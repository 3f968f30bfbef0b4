"""Rows as a matrix of numbers."""

import math
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from featurestore.definitions import Field
from featurestore.errors import SchemaError
from featurestore.profiles import fit_bins
from featurestore.statistics.encoding import encode
from featurestore.types import Array, Bool, Date, Embedding, Float64, Int64, String, Timestamp

FIELDS = [
    Field(name="x", dtype=Float64),
    Field(name="day", dtype=Date),
    Field(name="at", dtype=Timestamp),
    Field(name="big", dtype=Int64),
    Field(name="carrier", dtype=String),
    Field(name="flag", dtype=Bool),
    Field(name="vector", dtype=Embedding(2)),
    Field(name="tags", dtype=Array(Int64)),
]
ROWS = pa.table(
    {
        "x": [1.5, None, math.inf],
        "day": [date(1970, 1, 3), None, date(1970, 1, 1)],
        "at": pa.array([datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")),
        "big": [2**53 + 2, None, 3],
        "carrier": ["UA", None, "AA"],
        "flag": [True, False, None],
        "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "tags": pa.array([[1], None, []], pa.list_(pa.int64())),
    }
)


def test_numbers_and_instants_are_a_column_each_and_missing_ones_are_nan() -> None:
    matrix, columns = encode(ROWS, fit_bins(ROWS, FIELDS))
    by_name = dict(zip(columns, matrix.T.tolist(), strict=True))
    assert np.isnan(by_name["x"][1])
    assert by_name["x"][::2] == [1.5, math.inf]
    assert by_name["day"][::2] == [2.0, 0.0]
    assert by_name["at"][0] == 1e6
    assert by_name["big"][::2] == [2.0**53 + 2, 3.0]


def test_a_category_is_one_of_its_columns_in_every_row() -> None:
    bins = fit_bins(ROWS, FIELDS)
    rows = ROWS.set_column(4, "carrier", pa.array(["UA", "ZZ", None]))
    matrix, columns = encode(rows, bins)
    of_carrier = [name for name in columns if name.startswith("carrier=")]
    assert of_carrier == [
        'carrier="AA"',
        'carrier="UA"',
        "carrier=other values",
        "carrier=unseen values",
        "carrier=null",
    ]
    block = matrix[:, [columns.index(name) for name in of_carrier]]
    assert block.tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    flags = matrix[:, [columns.index('flag="true"'), columns.index('flag="false"'), columns.index("flag=null")]]
    assert flags.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_embedding_is_a_column_for_each_of_its_numbers_also_as_a_list() -> None:
    bins = fit_bins(ROWS, FIELDS)
    lists = ROWS.set_column(6, "vector", pa.array([[1.0, 2.0], None, [3.0]], pa.list_(pa.float32())))
    for rows, last in ((ROWS, [3.0, 4.0]), (lists, [math.nan, math.nan]), (ROWS.slice(1), None)):
        matrix, columns = encode(rows, bins)
        vectors = matrix[:, [columns.index("vector[0]"), columns.index("vector[1]")]]
        if last is None:
            assert np.isnan(vectors[0]).all()
            assert vectors[1].tolist() == [3.0, 4.0]
        else:
            np.testing.assert_array_equal(vectors, [[1.0, 2.0], [math.nan, math.nan], last])


def test_of_other_types_there_is_whether_they_are_null() -> None:
    matrix, columns = encode(ROWS, fit_bins(ROWS, FIELDS))
    assert matrix[:, columns.index("tags=null")].tolist() == [0, 1, 0]


def test_a_vanished_column_is_null_in_every_row_and_no_column_moves() -> None:
    bins = fit_bins(ROWS, FIELDS)
    whole, without = encode(ROWS, bins), encode(ROWS.select(["big"]), bins)
    assert whole.columns == without.columns
    for name, value in (("x", math.nan), ("carrier=null", 1), ("vector[1]", math.nan), ("tags=null", 1)):
        np.testing.assert_array_equal(without.matrix[:, without.columns.index(name)], [value] * 3)


def test_batches_and_no_rows_are_encoded_too() -> None:
    bins = fit_bins(ROWS, FIELDS)
    whole = encode(ROWS, bins)
    np.testing.assert_array_equal(encode(ROWS.to_batches()[0], bins).matrix, whole.matrix)
    assert encode(ROWS.slice(0, 0), bins).matrix.shape == (0, len(whole.columns))
    assert encode(ROWS, fit_bins(ROWS, [])).matrix.shape == (3, 0)


def test_a_column_of_another_type_is_refused() -> None:
    with pytest.raises(SchemaError, match="cannot be read"):
        encode(pa.table({"x": ["far"]}), fit_bins(ROWS, FIELDS[:1]))
