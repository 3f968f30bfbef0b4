"""Values written in a definition, such as a default: checked against their type, and their form in JSON.

Each value has one form in Python, and one in the canonical JSON of a definition, which goes into its hash:

| type             | Python                                           | JSON                                           |
| ---------------- | ------------------------------------------------ | ---------------------------------------------- |
| Bool             | bool                                             | true, false                                    |
| Int32, Int64     | int                                              | number                                         |
| Float32, Float64 | float, or int; rounded to the type; -0.0 is 0.0  | number; or "NaN", "Infinity", "-Infinity"      |
| String           | str                                              | text                                           |
| Bytes            | bytes                                            | text, hexadecimal, small letters               |
| Date             | date                                             | text, "2013-01-31"                             |
| Timestamp        | aware datetime; kept in UTC                      | text, "2013-01-31T07:00:00.000000+00:00"       |
| Decimal(10, 2)   | Decimal, or int; no digit is rounded away        | text, all digits of the scale: "1.50"          |
| Array            | list; None for a null; kept as a tuple           | list                                           |
| Embedding(n)     | list of n numbers; kept as a tuple               | list                                           |
| Struct           | dict with every field; None for a null           | object                                         |
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from featurestore import types
from featurestore.definitions.arguments import is_number
from featurestore.errors import DefinitionError, TimestampError


def check_literal(value: Any, dtype: types.DType, what: str) -> Any:
    """Return a value in the form of its type that the table above names.

    Args:
        value: what was given.
        dtype: what it is to be.
        what: what it is, to begin the message: ``The default of field "temp"``.

    Raises:
        DefinitionError: it is not of the type, or the type cannot hold it.
    """
    try:
        return _normal(value, dtype)
    except (TypeError, ValueError, OverflowError, TimestampError):
        wanted = _FORMS[dtype.kind].wanted
        raise DefinitionError(f"{what} is {value!r}, which is not {dtype}.", hint=f"Give {wanted}.") from None


def to_json(value: Any, dtype: types.DType) -> Any:
    """Return a value, as :func:`check_literal` gives it, in the form of JSON."""
    if value is None:
        return None
    if dtype.fields:
        return {name: to_json(value[name], inner) for name, inner in dtype.fields}
    if dtype.element is not None:
        return [to_json(one, dtype.element) for one in value]
    return _FORMS[dtype.kind].write(value)


def from_json(value: Any, dtype: types.DType) -> Any:
    """Return a value that :func:`check_literal` takes from the form of :func:`to_json`."""
    if value is None:
        return None
    if dtype.fields:
        return {name: from_json(value[name], inner) for name, inner in dtype.fields}
    if dtype.element is not None:
        return [from_json(one, dtype.element) for one in value]
    return _FORMS[dtype.kind].read(value)


def _normal(value: Any, dtype: types.DType) -> Any:
    if dtype.fields:
        if not isinstance(value, Mapping) or set(value) != {name for name, _ in dtype.fields}:
            raise TypeError
        return {name: _or_null(value[name], inner) for name, inner in dtype.fields}
    if dtype.size:
        if not isinstance(value, (list, tuple)) or len(value) != dtype.size:
            raise TypeError
        return tuple(_normal(one, types.Float32) for one in value)
    if dtype.element is not None:
        if not isinstance(value, (list, tuple)):
            raise TypeError
        return tuple(_or_null(one, dtype.element) for one in value)
    if dtype.precision:
        if not isinstance(value, (int, Decimal)) or isinstance(value, bool):
            raise TypeError
        exact = types.exact_decimal(value, dtype)
        return exact or abs(exact)  # a stored decimal has no negative zero
    return _FORMS[dtype.kind].normal(value)


def _or_null(value: Any, dtype: types.DType) -> Any:
    return None if value is None else _normal(value, dtype)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _whole(bits: int) -> Callable[[Any], int]:
    def normal(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise OverflowError
        return value

    return normal


def _number(packed: str) -> Callable[[Any], float]:
    def normal(value: Any) -> float:
        if not is_number(value):
            raise TypeError
        (rounded,) = struct.unpack(packed, struct.pack(packed, float(value)))
        # One object for NaN, so that two definitions that have it are equal. The canonical form writes -0.0 as 0.
        return math.nan if math.isnan(rounded) else rounded + 0.0

    return normal


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half of a surrogate pair has no bytes
    return value


def _blob(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError
    return bytes(value)


def _day(value: Any) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError
    return value


def _instant(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError
    return types.utc(value, "the value")


def _write_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _as_it_is(value: Any) -> Any:
    return value


class _Form(NamedTuple):
    """One kind of type: what its values are (for a hint), and how they are checked, written and read."""

    wanted: str
    normal: Callable[[Any], Any] = _as_it_is
    write: Callable[[Any], Any] = _as_it_is
    read: Callable[[Any], Any] = _as_it_is


_FORMS: Mapping[str, _Form] = {
    "Bool": _Form("True or False", _truth),
    "Int32": _Form("an integer from -2**31 to 2**31 - 1", _whole(32)),
    "Int64": _Form("an integer from -2**63 to 2**63 - 1", _whole(64)),
    "Float32": _Form("a number that 32 bits can hold", _number("<f"), _write_number, float),
    "Float64": _Form("a number", _number("<d"), _write_number, float),
    "String": _Form("a text", _text),
    "Bytes": _Form("bytes", _blob, bytes.hex, bytes.fromhex),
    "Date": _Form("a datetime.date", _day, date.isoformat, date.fromisoformat),
    "Timestamp": _Form(
        "an aware datetime: datetime(..., tzinfo=UTC)",
        _instant,
        lambda value: value.isoformat(timespec="microseconds"),
        lambda text: types.utc(text, "the value"),
    ),
    "Decimal": _Form(
        'a Decimal whose digits it holds: Decimal("1.50")', write=lambda value: format(value, "f"), read=Decimal
    ),
    "Array": _Form("a list of such values"),
    "Embedding": _Form("a list of as many numbers"),
    "Struct": _Form("a dict with a value, or None, for each of its fields"),
}
