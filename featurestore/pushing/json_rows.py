"""Rows that come as JSON, each an object: into the types of a view's columns, or a reason why that cannot be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from featurestore import types
from featurestore.errors import InvalidRequestError, TimestampError, closest
from featurestore.offline.intake.conform import stored_type
from featurestore.types.written import member, parsed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: How many microseconds one of a unit has in which an instant may be counted.
UNITS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}


def row_of(
    text: bytes, columns: Mapping[str, types.DType], *, ignore_others: bool = False, instants: str = "iso8601"
) -> dict[str, Any]:
    """Return the row that a text of JSON is; what it does not name is null.

    No error says a value: they are shown where keys and personal data must not be.

    Args:
        text: one object.
        columns: the columns that there are, with their types.
        ignore_others: whether a name that no column has is passed over.
        instants: how instants are written: ``iso8601``, or the unit of :data:`UNITS` in which they count since 1970.

    Raises:
        InvalidRequestError: it is no object, names something that the view has not, or has a value of another type.
    """
    try:
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):  # UnicodeDecodeError is the former
        raise InvalidRequestError("This is not JSON.") from None
    if not isinstance(found, dict):
        raise InvalidRequestError("This is no JSON object.", hint='Write {"name": value, ...}.')
    if ignore_others:
        found = {name: value for name, value in found.items() if name in columns}
    for name in found:
        if name not in columns:
            raise InvalidRequestError(f'The view has no "{name}".', hint=closest(name, columns))
    return {name: _value(value, columns[name], name, instants) for name, value in found.items()}


def to_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, types.DType]) -> pa.Table:
    """Return rows as a table in the types of their columns: a column of nulls would have none."""
    # In the types of the table, in which an embedding may be of any length: the checks tell.
    wanted = {name: stored_type(dtype) for name, dtype in columns.items()}
    return pa.table({name: pa.array([row.get(name) for row in rows], one) for name, one in wanted.items()})


def _value(value: Any, dtype: types.DType, name: str, instants: str) -> Any:
    try:
        if dtype is types.Timestamp and instants in UNITS and value is not None:
            return _EPOCH + timedelta(microseconds=int(value) * UNITS[instants])
        found = parsed(value, dtype, name) if dtype.scalar and isinstance(value, str) else member(value, dtype, name)
        pa.scalar(found, stored_type(dtype))
    except TimestampError:
        raise InvalidRequestError(
            f'"{name}" names no time zone, or is no instant.', hint="Write it as 2013-01-01T07:00:00Z."
        ) from None
    except (InvalidRequestError, TypeError, ValueError, OverflowError, pa.ArrowException):
        raise InvalidRequestError(f'"{name}" is not {dtype}.') from None
    return found
