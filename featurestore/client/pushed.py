"""Rows that are pushed -> columns, with types that nobody has declared to the client.

The view's types are the server's to know, and it checks every value against them. What a column carries is read off
its values: texts as texts, whole numbers as such, a Decimal as its digits. An Arrow table says more, ``dtypes`` all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from featurestore import types
from featurestore.client.request import columns_of, fill
from featurestore.errors import InvalidRequestError, closest
from featurestore.types import DType
from featurestore.types.table import MAX_PRECISION
from featurestore.v1 import serving_pb2 as pb


@dataclass(frozen=True)
class Pushed:
    """What became of pushed rows.

    Attributes:
        view: whose checks they passed: ``clicks@2``.
        accepted: rows that are served, and kept for training, from now on.
        rejected: why the others are not, by their place in the push, from 0.
    """

    view: str
    accepted: int
    rejected: Mapping[int, str] = field(default_factory=dict)


def pushed_columns(rows: Any, dtypes: Mapping[str, DType]) -> list[pb.Column]:
    """Return the columns of rows; those without any value are left out, which means null.

    Args:
        rows: dicts, a dict of columns, or a frame; see :func:`columns_of`.
        dtypes: the types of columns of which the values do not tell enough.

    Raises:
        InvalidRequestError: rows have no value at all; or values of one column are of several types, or of one that
            does not tell how it is sent.
        TimestampError: an instant names no time zone.
    """
    if isinstance(rows, Iterator):  # which is read once
        rows = list(rows)
    known = _declared_by_arrow(rows) | dict(dtypes)
    columns = columns_of(rows)
    for name in dtypes:
        if name not in columns:
            raise InvalidRequestError(
                f'"{name}" has a type, and the rows have no such column.', hint=closest(name, columns)
            )
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise InvalidRequestError(
            f"The columns have different lengths: {said}.", hint="Give each row a value, or None."
        )
    made = []
    for name, values in columns.items():
        dtype = known.get(name) or _type_of(name, values)
        if dtype is not None:
            column = pb.Column(name=name)
            fill(column, dtype, values)
            made.append(column)
    count = max(lengths.values(), default=0 if isinstance(rows, Mapping) else len(rows))
    if count and not made:  # the request would have no row
        raise InvalidRequestError(
            f"The {count:,} rows have no value in any column.",
            hint="Keys and instants are needed; features may be null.",
        )
    return made


#: By Arrow's name of a type that is not one of ours: ours that holds all of its values.
_WIDENED = {
    "int8": types.Int32,
    "int16": types.Int32,
    "uint8": types.Int32,
    "uint16": types.Int32,
    "uint32": types.Int64,
    "halffloat": types.Float32,
    "large_string": types.String,
    "string_view": types.String,
    "large_binary": types.Bytes,
    "binary_view": types.Bytes,
    "date32[day]": types.Date,
    "date64[ms]": types.Date,
}
_DECIMAL = re.compile(r"decimal\d+\((\d+), (\d+)\)")


def _declared_by_arrow(rows: Any) -> dict[str, DType]:
    """Return the types that an Arrow table declares; none of other rows."""
    if type(rows).__module__.partition(".")[0] != "pyarrow" or not hasattr(rows, "schema"):
        return {}
    return {one.name: dtype for one in rows.schema if (dtype := _from_arrow(one.type)) is not None}


def _from_arrow(arrow: Any) -> DType | None:
    name = str(arrow)
    if name in _WIDENED:
        return _WIDENED[name]
    if name.startswith("timestamp["):
        return types.Timestamp
    if decimal := _DECIMAL.fullmatch(name):
        precision = int(decimal[1])
        return types.Decimal(precision, int(decimal[2])) if precision <= MAX_PRECISION else None
    if name.startswith("struct<"):
        fields = {one.name: _from_arrow(one.type) for one in arrow}
        found = {key: dtype for key, dtype in fields.items() if dtype is not None}
        return types.Struct(found) if len(found) == len(fields) and found else None
    if "list" in name.partition("<")[0]:
        element = _from_arrow(arrow.value_type)
        if name.startswith("fixed_size_list") and element == types.Float32:
            return types.Embedding(arrow.list_size)
        return None if element is None else types.Array(element)
    return next((dtype for dtype in types.BY_NAME.values() if dtype.arrow == name), None)


#: Kinds of values, and how each is sent. A truth value is a number too for Python, and a datetime a date.
_KINDS: tuple[tuple[tuple[type, ...], DType], ...] = (
    ((bool, np.bool_), types.Bool),
    ((int, np.integer), types.Int64),
    ((float, np.floating), types.Float64),
    ((str,), types.String),
    ((bytes, bytearray, memoryview), types.Bytes),
    ((datetime,), types.Timestamp),
    ((date,), types.Date),
)


def _type_of(name: str, values: Sequence[Any]) -> DType | None:
    """Return the type that values of one column are sent as; None if there is no value."""
    found: set[DType] = set()
    scale = -1
    for row, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, Decimal) and value.is_finite():
            exponent = value.as_tuple().exponent
            scale = max(scale, 0, -int(exponent))
            continue
        dtype = next((dtype for kinds, dtype in _KINDS if isinstance(value, kinds)), None)
        if dtype is None:
            raise InvalidRequestError(
                f'"{name}" of row {row} is {value!r}, which does not tell the type of its column.',
                hint=f'Name it: dtypes={{"{name}": ...}} with a type of featurestore.types; or push an Arrow table.',
                field=name,
                row=row,
            )
        found.add(dtype)
    if scale >= 0 and found <= {types.Int64}:
        return types.Decimal(MAX_PRECISION, min(scale, MAX_PRECISION))
    if found == {types.Int64, types.Float64}:
        return types.Float64
    if len(found) + (scale >= 0) > 1:
        kinds = sorted(dtype.name for dtype in found) + ["Decimal"] * (scale >= 0)
        raise InvalidRequestError(
            f'"{name}" has values of several types: {", ".join(kinds)}.', hint="A column is of one type.", field=name
        )
    return found.pop() if found else None
