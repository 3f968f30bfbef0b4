"""On-demand expressions are functions of one row, and mean the same for one row and for a million."""

from __future__ import annotations

import math
import re
import struct
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.definitions import Entity, FeatureView, Field, OnDemandFeatureView
from featurestore.errors import DataError, DefinitionError
from featurestore.transforms import Transform
from featurestore.types import BY_NAME, Bool, Date, DType, Float32, Float64, Int32, Int64, String, Timestamp

VIEW = FeatureView(
    name="weather",
    entities=[Entity(name="airport")],
    schema=[
        Field(name="temp", dtype=Float64),
        Field(name="wind", dtype=Float64),
        Field(name="seats", dtype=Int64),
        Field(name="code", dtype=String),
    ],
)
SCHEMA = {"temp": pl.Float64(), "wind": pl.Float64(), "seats": pl.Int64(), "code": pl.String(), "hour": pl.Int64()}


def transform(dtype: DType = Float64, **expressions: str) -> Transform:
    return Transform(
        OnDemandFeatureView(
            name="derived",
            inputs=[VIEW],
            request=[Field(name="hour", dtype=Int64)],
            schema=[Field(name=name, dtype=dtype) for name in expressions],
            expressions=expressions,
        )
    )


def rows(**columns: list[Any]) -> pl.DataFrame:
    height = max((len(values) for values in columns.values()), default=3)
    return pl.DataFrame({name: columns.get(name, [None] * height) for name in SCHEMA}, schema=SCHEMA)


def evaluate(expression: str, dtype: DType = Float64, **columns: list[Any]) -> list[Any]:
    return transform(dtype, out=expression).evaluate(rows(**columns))["out"].to_list()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("hour / 24.0", 1 / 24),
        ("hour * 0.1", 0.1),
        ("0.1 + 0.2", 0.1 + 0.2),
        (".5 * hour", 0.5),
        ("5. * hour", 5.0),
        ("-1.25", -1.25),
        ("1.5e3 * hour", 1500.0),
        ("0.1234567890123456789", 0.1234567890123456789),
        ("CASE WHEN hour > 0.5 THEN 1.25 ELSE hour END", 1.25),
        ("greatest(hour, 2.5)", 2.5),
        ("length('24.0')", 4.0),
        ("hour / 24.0 -- 24.0 hours", 1 / 24),
        ("hour /* 1.5 */ / 7.0", 1 / 7),
    ],
)
def test_a_number_with_a_point_is_a_float_and_not_a_decimal(expression: str, expected: float) -> None:
    """Polars' SQL would divide 1 by 24.0 to six digits."""
    assert evaluate(expression, hour=[1]) == [expected]


def test_nulls_stay_null_and_nan_stays_nan() -> None:
    assert evaluate("temp + 1", temp=[None])[0] is None
    assert math.isnan(evaluate("temp + 1", temp=[math.nan])[0])
    assert evaluate("temp > 1", Bool, temp=[None]) == [None]
    assert evaluate("coalesce(temp, 1.5)", temp=[None, 2.0]) == [1.5, 2.0]


def test_dividing_a_float_by_zero_is_infinite_as_in_ieee_754() -> None:
    assert evaluate("temp / 0.0", temp=[1.0, -1.0]) == [math.inf, -math.inf]


def test_a_value_that_the_declared_type_cannot_hold_is_null_and_its_neighbours_keep_theirs() -> None:
    assert evaluate("temp", Int32, temp=[1.0, 1e300, math.nan, math.inf, 2.9]) == [1, None, None, None, 2]


@pytest.mark.parametrize("dtype", BY_NAME.values(), ids=repr)
def test_the_result_has_the_declared_type(dtype: DType) -> None:
    expression = {"Date": "DATE '2013-01-01'", "String": "code", "Bytes": "CAST(code AS BYTEA)"}.get(dtype.name, "hour")
    assert transform(dtype, out=expression).evaluate(rows(hour=[1], code=["a"])).schema == {"out": dtype.to_polars()}


def test_a_date_literal_is_a_date() -> None:
    assert evaluate("DATE '2013-01-02'", Date, hour=[1]) == [date(2013, 1, 2)]
    assert evaluate("TIMESTAMP '2013-01-02 03:00:00'", Timestamp, hour=[1]) == [datetime(2013, 1, 2, 3, tzinfo=UTC)]


def test_a_constant_gives_one_value_a_row() -> None:
    frame = transform(one="1.5", text_length="length('abc')").evaluate(rows(hour=[1, 2, 3]))
    assert frame.to_dict(as_series=False) == {"one": [1.5] * 3, "text_length": [3.0] * 3}


def test_no_rows_give_no_rows() -> None:
    assert transform(out="temp + 1").evaluate(pl.DataFrame(schema=SCHEMA)).height == 0


def test_only_the_columns_that_an_expression_names_are_inputs() -> None:
    assert transform(a="temp * hour", b="hour + 1").inputs == {"temp": pl.Float64(), "hour": pl.Int64()}


def test_columns_beside_the_inputs_change_nothing() -> None:
    frame = rows(temp=[1.0, 2.0]).with_columns(pl.Series("out", ["x", "y"]))
    assert transform(out="temp + 1").evaluate(frame)["out"].to_list() == [2.0, 3.0]


def test_an_unknown_column_is_named_with_what_may_be_meant() -> None:
    with pytest.raises(DefinitionError, match='"out" in on-demand feature view "derived" names "tmp"') as raised:
        transform(out="tmp + 1")
    assert raised.value.hint == 'Did you mean "temp"?'


@pytest.mark.parametrize("text", ["temp +", "no_such_function(temp)", "*", "(SELECT 1)", "$1"])
def test_what_polars_cannot_parse_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(DefinitionError, match='expression of "out"'):
        transform(out=text)


def test_types_that_do_not_go_together_are_refused_when_defined() -> None:
    with pytest.raises(DefinitionError, match="cannot be evaluated"):
        transform(out="upper(temp)")


@pytest.mark.parametrize(
    "text",
    ["now()", "NOW ( )", "random()", "CURRENT_TIMESTAMP", "current_date", "temp + extract(year FROM current_date)"],
)
def test_the_clock_and_chance_are_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="changes from call to call"):
        transform(out=text)


@pytest.mark.parametrize(
    "text",
    [
        "sum(temp)",
        "temp - avg(temp)",
        "CASE WHEN temp > 1000 THEN max (temp) ELSE temp END",
        "row_number() OVER (ORDER BY temp)",
        "lag(temp) OVER (ORDER BY hour)",
        "count(*)",
        "first(temp)",
        "median(temp)",
    ],
)
def test_an_expression_that_looks_at_other_rows_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="looks at other rows"):
        transform(out=text)


def test_a_function_over_rows_that_is_on_no_list_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.transforms.expressions._OTHER_ROWS", re.compile("(?!)"))
    with pytest.raises(DefinitionError, match="looks at other rows"):
        transform(out="temp - avg(temp)")


def test_words_in_texts_and_names_are_not_functions() -> None:
    assert evaluate("concat(code, 'now() sum(1.5)')", String, code=["a"]) == ["anow() sum(1.5)"]
    assert evaluate("greatest(temp, wind) + least(temp, wind)", temp=[1.0], wind=[2.0]) == [3.0]


def test_a_strict_cast_that_fails_names_the_view_and_the_way_out() -> None:
    with pytest.raises(DataError, match='"derived" cannot be evaluated') as raised:
        evaluate("CAST(code AS BIGINT)", Int64, code=["x"])
    assert "TRY_CAST" in raised.value.hint
    assert evaluate("TRY_CAST(code AS BIGINT)", Int64, code=["x", "7"]) == [None, 7]


EXPRESSIONS = transform(
    chill="35.74 + 0.6215 * temp - 35.75 * power(wind, 0.16) + 0.4275 * temp * power(wind, 0.16)",
    load="seats * hour / 24.0",
    branch="CASE WHEN temp <= 50 AND wind > 3 THEN exp(temp / 100.0) ELSE ln(wind) END",
    whole="seats % 7",
)
NUMBERS = st.none() | st.floats(width=64)
INTEGERS = st.none() | st.integers(-(2**31), 2**31)


def _bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, INTEGERS, INTEGERS), min_size=1, max_size=70))
def test_one_row_at_a_time_gives_the_bits_that_all_rows_at_once_give(values: list[tuple[Any, ...]]) -> None:
    """A server evaluates one row, a training set millions; vectorised arithmetic must not show."""
    temps, winds, seats, hours = (list(column) for column in zip(*values, strict=True))
    frame = rows(temp=temps, wind=winds, seats=seats, hour=hours)
    together = EXPRESSIONS.evaluate(frame)
    alone = pl.concat([EXPRESSIONS.evaluate(frame[at]) for at in range(frame.height)])
    for name in together.columns:
        assert [_bits(value) for value in together[name]] == [_bits(value) for value in alone[name]]


def test_dividing_one_row_by_a_constant_gives_the_bits_that_dividing_many_gives() -> None:
    """Polars multiplies many rows by 1/24 but divides a single one by 24, which can differ in the last bit."""
    assert evaluate("hour / 24.0", hour=[28117]) == evaluate("hour / 24.0", hour=[28117, 28117])[:1]


def test_how_a_frame_is_chunked_changes_no_bit() -> None:
    whole = rows(hour=[28117, 28117, 1])
    chunked = pl.concat([whole[0], whole[1:]], rechunk=False)
    derived = transform(out="hour / 24.0")
    assert derived.evaluate(chunked).equals(derived.evaluate(whole))


def test_float32_is_rounded_once() -> None:
    assert evaluate("temp", Float32, temp=[0.1]) == [struct.unpack("<f", struct.pack("<f", 0.1))[0]]
