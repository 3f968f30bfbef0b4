"""Values in a definition: one form in Python, one in JSON, and nothing that the type cannot hold."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions.literals import check_literal, from_json, to_json
from featurestore.errors import DefinitionError

MONEY = types.Decimal(10, 2)
PLACE = types.Struct({"lat": types.Float64, "tags": types.Array(types.String)})


@pytest.mark.parametrize(
    ("dtype", "value", "kept", "written"),
    [
        (types.Bool, False, False, False),
        (types.Int32, -(2**31), -(2**31), -(2**31)),
        (types.Int64, 2**63 - 1, 2**63 - 1, 2**63 - 1),
        (types.Float64, 1, 1.0, 1.0),
        (types.Float64, -0.0, 0.0, 0.0),
        (types.Float64, math.nan, math.nan, "NaN"),
        (types.Float64, -math.inf, -math.inf, "-Infinity"),
        (types.Float32, 1.111, struct.unpack("<f", struct.pack("<f", 1.111))[0], 1.1109999418258667),
        (types.String, "é", "é", "é"),
        (types.Bytes, b"\x00\xff", b"\x00\xff", "00ff"),
        (types.Date, date(2013, 1, 31), date(2013, 1, 31), "2013-01-31"),
        (
            types.Timestamp,
            datetime(2013, 1, 31, 8, tzinfo=timezone(timedelta(hours=1))),
            datetime(2013, 1, 31, 7, tzinfo=UTC),
            "2013-01-31T07:00:00.000000+00:00",
        ),
        (MONEY, 1, Decimal("1.00"), "1.00"),
        (MONEY, Decimal("-0"), Decimal("0.00"), "0.00"),
        (types.Decimal(38, 10), Decimal("1e-10"), Decimal("0.0000000001"), "0.0000000001"),
        (types.Array(types.Int64), [1, None], (1, None), [1, None]),
        (types.Array(types.Int64), [], (), []),
        (types.Embedding(2), [1, 0.5], (1.0, 0.5), [1.0, 0.5]),
        (PLACE, {"tags": ["a"], "lat": None}, {"lat": None, "tags": ("a",)}, {"lat": None, "tags": ["a"]}),
    ],
    ids=str,
)
def test_a_value_has_one_form_in_python_and_one_in_json(
    dtype: types.DType, value: Any, kept: Any, written: Any
) -> None:
    found = check_literal(value, dtype, "It")
    assert repr(found) == repr(kept)
    assert to_json(found, dtype) == written
    again = check_literal(from_json(json.loads(json.dumps(written)), dtype), dtype, "It")
    assert repr(again) == repr(kept)
    assert (again,) == (found,), "NaN is one object, so that two definitions that have it are equal"


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (types.Bool, 1),
        (types.Int32, 2**31),
        (types.Int64, 2**63),
        (types.Int64, 1.0),
        (types.Int64, True),
        (types.Float64, "1"),
        (types.Float64, True),
        (types.Float64, 10**400),
        (types.Float32, 1e39),
        (types.String, b"a"),
        (types.String, "\ud800"),
        (types.Bytes, "a"),
        (types.Date, datetime(2013, 1, 1, tzinfo=UTC)),
        (types.Date, "2013-01-01"),
        (types.Timestamp, datetime(2013, 1, 1)),  # noqa: DTZ001 - naive is what is refused
        (types.Timestamp, date(2013, 1, 1)),
        (MONEY, Decimal("1.111")),
        (MONEY, Decimal(123456789)),
        (MONEY, 1.5),
        (MONEY, Decimal("NaN")),
        (types.Array(types.Int64), 1),
        (types.Array(types.Int64), ["a"]),
        (types.Array(types.String), "abc"),
        (types.Embedding(2), [1.0]),
        (types.Embedding(2), [1.0, None]),
        (PLACE, {"lat": 1.0}),
        (PLACE, {"lat": 1.0, "tags": [], "lon": 1.0}),
        (PLACE, [1.0, []]),
    ],
    ids=str,
)
def test_what_the_type_cannot_hold_is_refused_with_what_it_takes(dtype: types.DType, value: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_literal(value, dtype, 'The default of field "x"')
    assert caught.value.message.startswith('The default of field "x" is ')
    assert f"which is not {dtype}" in caught.value.message
    assert caught.value.hint.startswith("Give ")


@given(st.floats(width=64) | st.integers(-(2**70), 2**70))
def test_a_number_comes_back_from_json_bit_for_bit(value: float) -> None:
    for dtype, packed in ((types.Float64, "<d"), (types.Float32, "<f")):
        try:
            kept = check_literal(value, dtype, "It")
        except DefinitionError:
            assert dtype == types.Float32
            assert abs(value) > 3.4e38
            continue
        again = check_literal(from_json(json.loads(json.dumps(to_json(kept, dtype))), dtype), dtype, "It")
        assert struct.pack(packed, again) == struct.pack(packed, kept)
        assert pa.scalar(kept, dtype.to_arrow()).as_py() == kept or math.isnan(kept)
