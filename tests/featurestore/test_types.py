"""One table of types, true in each of the libraries that it names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as Number
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import types
from featurestore.errors import DefinitionError, TimestampError
from featurestore.types import BY_NAME, Array, Decimal, DType, Embedding, Int64, String, Struct, exact_decimal
from featurestore.v1 import serving_pb2


@pytest.mark.parametrize("dtype", BY_NAME.values(), ids=repr)
def test_the_wire_has_a_field_for_each_type(dtype: DType) -> None:
    row = serving_pb2.DESCRIPTOR.message_types_by_name["FeatureRow"]
    assert dtype.wire in row.fields_by_name
    assert bool(dtype.numpy) == bool(dtype.width)
    if dtype.numpy:
        assert np.dtype(dtype.numpy).itemsize == dtype.width


@given(data=st.data())
def test_a_type_and_its_name_say_the_same(data: st.DataObject, any_type: st.SearchStrategy[DType]) -> None:
    dtype = data.draw(any_type)
    read = types.by_name(dtype.name)
    assert read == dtype
    assert hash(read) == hash(dtype)
    assert read.to_arrow() == dtype.to_arrow()
    assert (read.wire, read.width, read.numpy, read.numeric) == (dtype.wire, dtype.width, dtype.numpy, dtype.numeric)
    assert types.by_name(dtype.name.replace(", ", " ,")) == dtype, "white space does not matter"


def test_a_definition_reads_as_the_name_does() -> None:
    assert repr(Struct({"a": Int64, "b": Array(String)})) == "Struct(a Int64, b Array(String))"
    assert repr([Decimal(10, 2), Array(Embedding(3))]) == "[Decimal(10, 2), Array(Embedding(3))]"
    assert eval(repr(Decimal(10, 2))) == Decimal(10, 2)


def test_numbers_have_limits_and_what_is_several_things_is_no_scalar() -> None:
    assert {name for name, dtype in BY_NAME.items() if dtype.numeric} == {"Int32", "Int64", "Float32", "Float64"}
    assert Decimal(10, 2).numeric
    assert all(dtype.scalar for dtype in (*BY_NAME.values(), Decimal(10, 2)))
    assert not any(dtype.scalar or dtype.numeric for dtype in (Array(Int64), Embedding(2), Struct({"a": Int64})))


def deep(levels: int) -> DType:
    dtype = Int64
    for _ in range(levels):
        dtype = Array(dtype)
    return dtype


@pytest.mark.parametrize(
    ("make", "says", "hint"),
    [
        (lambda: Decimal(50, 2), "a precision of 50", "1 to 38"),
        (lambda: Decimal(0, 0), "a precision of 0", "1 to 38"),
        (lambda: Decimal(10, 11), "a scale of 11", "10 digits"),
        (lambda: Decimal(10, -1), "a scale of -1", "10 digits"),
        (lambda: Decimal("10", 2), "a precision of '10'", "1 to 38"),  # type: ignore[arg-type]
        (lambda: Decimal(True, 0), "a precision of True", "1 to 38"),
        (lambda: Array(float), "which is not a feature type", "Float64"),  # type: ignore[arg-type]
        (lambda: Array(Array), "which is not a feature type", "Float64"),  # type: ignore[arg-type]
        (lambda: Embedding(0), r"Embedding\(0\) is no type", "1 to 65,536"),
        (lambda: Embedding(65_537), "is no type", "Array"),
        (lambda: Embedding(2.0), "is no type", "1 to 65,536"),  # type: ignore[arg-type]
        (lambda: Struct({}), "has no fields", "Struct"),
        (lambda: Struct([("a", Int64)]), "has no fields", "dict"),  # type: ignore[arg-type]
        (lambda: Struct({"a b": Int64}), "'a b' cannot name", "letters"),
        (lambda: Struct({1: Int64}), "1 cannot name", "letters"),  # type: ignore[dict-item]
        (lambda: Struct({"a": Int64, "A": Int64}), 'names "a" and "A"', "Rename"),
        (lambda: Struct({"a": int}), 'Field "a" of a Struct', "Int64"),  # type: ignore[dict-item]
        (lambda: deep(16), "within each other", "Flatten"),
    ],
)
def test_a_type_that_cannot_be_is_refused_where_it_is_made(make: Callable[[], DType], says: str, hint: str) -> None:
    with pytest.raises(DefinitionError, match=says) as raised:
        make()
    assert hint in raised.value.hint


def test_a_type_is_found_by_its_name_or_what_is_meant_is_said() -> None:
    assert types.by_name("Int64") is types.Int64
    with pytest.raises(DefinitionError, match='no type "Int46"') as raised:
        types.by_name("Int46")
    assert raised.value.hint == 'Did you mean "Int64"?'
    with pytest.raises(DefinitionError, match='no type "Decimal"') as raised:
        types.by_name("Decimal")
    assert "Decimal(10, 2)" in raised.value.hint


@given(
    st.text(max_size=20)
    | st.lists(
        st.sampled_from(["Array", "Struct", "Decimal", "Embedding", "(", ")", ",", " ", "a", "Int64", "3"]), max_size=12
    ).map("".join)
    | st.integers(0, 3000).map(lambda levels: "Array(" * levels)
)
def test_any_text_is_a_type_or_refused(text: str) -> None:
    try:
        dtype = types.by_name(text)
    except DefinitionError:
        return
    assert types.by_name(dtype.name) == dtype


@given(
    st.decimals(allow_nan=None) | st.integers(),
    st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))),
)
def test_a_decimal_keeps_its_value_or_is_refused(value: Any, digits: tuple[int, int]) -> None:
    dtype = Decimal(*digits)
    try:
        exact = exact_decimal(value, dtype)
    except ValueError:
        number = Number(value)
        assert (
            not number.is_finite()
            or abs(number) >= 10 ** (dtype.precision - dtype.scale)
            or Fraction(number) * 10**dtype.scale % 1 != 0
        )
    else:
        assert Fraction(exact) == Fraction(value)
        assert exact.as_tuple().exponent == -dtype.scale
        assert len(exact.as_tuple().digits) <= max(dtype.precision, 1)


def test_importing_the_table_imports_none_of_the_libraries_that_it_names() -> None:
    script = "import sys, featurestore.types; print([m for m in ('pyarrow','polars','duckdb') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


ZONES = st.sampled_from([UTC, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")])
FIRST, LAST = datetime(2, 1, 1), datetime(9998, 1, 1)  # noqa: DTZ001 - Hypothesis adds the zone


@given(st.datetimes(timezones=ZONES, min_value=FIRST, max_value=LAST))
def test_an_instant_is_the_same_in_utc_as_text_and_in_microseconds(instant: datetime) -> None:
    in_utc = types.utc(instant, "it")
    assert in_utc.tzinfo is UTC
    assert in_utc.timestamp() == instant.timestamp()
    assert types.utc(in_utc.isoformat(), "it") == in_utc
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=types.microseconds(in_utc)) == in_utc


def test_a_date_as_text_is_its_midnight_in_utc() -> None:
    assert types.utc("2013-01-31", "it") == datetime(2013, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("2013-02-31", "is not a timestamp"),
        ("20130101", "names no time zone"),
        (datetime(2013, 1, 1), "names no time zone"),  # noqa: DTZ001 - that is the point
        ("2013-01-01T07:00:00", "names no time zone"),
        ("yesterday", "is not a timestamp"),
        (date(2013, 1, 1), "not a timestamp"),
        (1_356_998_400, "is 1356998400, not a timestamp"),
        (None, "is None, not a timestamp"),
    ],
)
def test_what_is_no_instant_is_refused_by_name(value: Any, says: str) -> None:
    with pytest.raises(TimestampError, match=f"until.*{says}") as raised:
        types.utc(value, "until")
    assert raised.value.hint
