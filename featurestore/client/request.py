"""Entity rows as users have them -> the columns of a request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from featurestore import types
from featurestore.errors import InvalidRequestError
from featurestore.types.wire import to_values
from featurestore.v1 import serving_pb2 as pb

_DAY_ZERO = date(1970, 1, 1)


def columns_of(entity_rows: Any) -> dict[str, Sequence[Any]]:
    """Return the values by column; there is none where there are no rows.

    Args:
        entity_rows: dicts, one a row; or a dict of columns; or an Arrow table, a Polars or a pandas frame.

    Raises:
        InvalidRequestError: the rows are none of these.
    """
    library = type(entity_rows).__module__.partition(".")[0]
    if library in _FRAMES:
        return _FRAMES[library](entity_rows)
    if isinstance(entity_rows, Mapping):
        for name, values in entity_rows.items():
            if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
                raise InvalidRequestError(
                    f'"{name}" is {values!r}, which is not a column of values.',
                    hint="Pass one entity row as a list with one dict: [{...}].",
                )
        return dict(entity_rows)
    if isinstance(entity_rows, (str, bytes)) or not isinstance(entity_rows, Iterable):
        raise InvalidRequestError(f"The entity rows are {entity_rows!r}.", hint=_FORMS)
    rows = list(entity_rows)
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidRequestError(f"Entity row {index} is {row!r}, which is not a dict.", hint=_FORMS)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


_FORMS = "Pass a list of dicts, a dict of columns, or a frame of Arrow, Polars or pandas."

#: By library: how its frame gives columns of Python values. The library is the user's: it is not imported here.
_FRAMES: dict[str, Callable[[Any], dict[str, Sequence[Any]]]] = {
    "pyarrow": lambda table: table.to_pydict(),
    "polars": lambda frame: frame.to_dict(as_series=False),
    # pandas says "missing" in several ways; here there is one.
    "pandas": lambda frame: frame.astype(object).where(frame.notna(), None).to_dict(orient="list"),
}


def fill(column: pb.Column, dtype: types.DType, values: Sequence[Any]) -> None:
    """Put values into a column of the request, nulls as placeholders marked in its mask.

    Raises:
        InvalidRequestError: a value is not of the type.
        TimestampError: an instant names no time zone.
    """
    mask = bytearray()
    encoded: Sequence[Any] = values
    if set(map(type, values)) != {_AS_SENT.get(dtype.kind)}:
        mask, encoded = _encoded(values, dtype, column.name)
    target = getattr(column, dtype.sent)
    target.SetInParent()  # a column without rows is still of its type
    try:
        target.values.extend(encoded)
    except (TypeError, ValueError):
        raise InvalidRequestError(f'"{column.name}" has a value that is outside the range of {dtype}.') from None
    if any(mask):
        column.nulls = bytes(mask)


#: The type of Python whose values are sent as they are.
_AS_SENT: dict[str, type] = {
    "Bool": bool,
    "Int32": int,
    "Int64": int,
    "Float64": float,
    "String": str,
    "Bytes": bytes,
}


def _encoded(values: Sequence[Any], dtype: types.DType, name: str) -> tuple[bytearray, list[Any]]:
    """Return the mask of the nulls, and the values as a request holds them.

    Raises:
        InvalidRequestError: a value is not of the type.
        TimestampError: an instant names no time zone.
    """
    encode = _encoder(dtype)
    placeholder = _PLACEHOLDERS[dtype.sent]
    mask = bytearray((len(values) + 7) // 8)
    encoded = []
    for index, value in enumerate(values):
        if value is None:
            mask[index // 8] |= 1 << index % 8
            encoded.append(placeholder)
            continue
        try:
            encoded.append(encode(value, dtype, name))
        except (TypeError, ValueError, OverflowError):
            raise InvalidRequestError(
                f'"{name}" of entity row {index} is {value!r}, which is not {dtype}.',
                hint=f"Pass values of type {dtype}, or None.",
                field=name,
                row=index,
            ) from None
    return mask, encoded


#: What stands for a null in each member of Column.values.
_PLACEHOLDERS: dict[str, Any] = {
    "bools": False,
    "int64s": 0,
    "doubles": 0.0,
    "strings": "",
    "blobs": b"",
    "nested": pb.Values(),
}

#: Writes a value as a request holds it; the name is the column's, for messages.
_Encoder = Callable[[Any, types.DType, str], Any]


def _encoder(dtype: types.DType) -> _Encoder:
    return _SCALARS[dtype.kind] if dtype.scalar else _nested


def _nested(value: Any, dtype: types.DType, name: str) -> pb.Values:
    return to_values(value, dtype, lambda inner, of: _SCALARS[of.kind](inner, of, name))


def _whole(value: Any, *_: object) -> int:
    if isinstance(value, bool) or int(value) != value:
        raise ValueError
    return int(value)


def _number(value: Any, dtype: types.DType, _: str) -> float:
    if isinstance(value, (bool, str, Decimal)):
        raise TypeError
    number = float(value)
    if dtype == types.Float32 and math.isfinite(number) and not math.isfinite(_single(number)):
        raise OverflowError
    return number


def _single(number: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(number))


def _decimal(value: Any, dtype: types.DType, _: str) -> str:
    # A float is refused: 1.111 as a float is another number, and which digits were meant is the caller's to say.
    if isinstance(value, bool) or not isinstance(value, (Decimal, int)):
        raise TypeError
    return format(types.exact_decimal(value, dtype), "f")


def _text(value: Any, *_: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _blob(value: Any, *_: object) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError
    return bytes(value)


def _truth(value: Any, *_: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError
    return bool(value)


def _days(value: Any, *_: object) -> int:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise TypeError
    return (value - _DAY_ZERO).days


def _instant(value: Any, _: types.DType, name: str) -> int:
    return types.microseconds(types.utc(value, f'"{name}"'))


#: By kind of scalar: how a value is written.
_SCALARS: dict[str, _Encoder] = {
    "Bool": _truth,
    "Int32": _whole,
    "Int64": _whole,
    "Float32": _number,
    "Float64": _number,
    "Decimal": _decimal,
    "String": _text,
    "Bytes": _blob,
    "Date": _days,
    "Timestamp": _instant,
}
