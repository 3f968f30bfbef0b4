"""One table of types, true in each of the libraries that it names."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import types
from featurestore.errors import DefinitionError, TimestampError
from featurestore.types import BY_NAME, DType
from featurestore.v1 import serving_pb2

EXAMPLES: dict[str, Any] = {
    "Bool": True,
    "Int32": -(2**31),
    "Int64": 2**63 - 1,
    "Float32": 0.5,
    "Float64": 0.1,
    "String": "é",
    "Bytes": b"\x00\xff",
    "Date": date(1969, 12, 31),
    "Timestamp": datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
}


@pytest.mark.parametrize("dtype", BY_NAME.values(), ids=repr)
def test_a_value_passes_through_arrow_duckdb_and_polars_unchanged(dtype: DType) -> None:
    value = EXAMPLES[dtype.name]
    table = pa.table({"c": pa.array([value, None], dtype.to_arrow())})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", table)
        assert connection.sql("SELECT typeof(c) FROM t").fetchall()[0] == (dtype.duckdb,)
        back = connection.sql(f"SELECT CAST(c AS {dtype.duckdb}) AS c FROM t").to_arrow_table()
    assert back.schema.field("c").type == dtype.to_arrow()
    assert back["c"].to_pylist() == [value, None]
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    assert frame.schema["c"] == dtype.to_polars()
    assert frame["c"].to_list() == [value, None]


@pytest.mark.parametrize("dtype", BY_NAME.values(), ids=repr)
def test_the_wire_has_a_field_for_each_type(dtype: DType) -> None:
    row = serving_pb2.DESCRIPTOR.message_types_by_name["FeatureRow"]
    assert dtype.wire in row.fields_by_name
    assert bool(dtype.numpy) == bool(dtype.width)
    if dtype.numpy:
        assert np.dtype(dtype.numpy).itemsize == dtype.width


def test_floats_are_no_keys_and_only_numbers_have_limits() -> None:
    assert {name for name, dtype in BY_NAME.items() if not dtype.key} == {"Float32", "Float64"}
    assert {name for name, dtype in BY_NAME.items() if dtype.numeric} == {"Int32", "Int64", "Float32", "Float64"}


def test_a_type_is_found_by_its_name_or_what_is_meant_is_said() -> None:
    assert types.by_name("Int64") is types.Int64
    with pytest.raises(DefinitionError, match='no type "Int46"') as raised:
        types.by_name("Int46")
    assert raised.value.hint == 'Did you mean "Int64"?'


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


@pytest.mark.parametrize(
    ("value", "says"),
    [
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
