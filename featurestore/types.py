"""The table of types: ours, and what each is called in Arrow, DuckDB, Polars and on the wire.

Foreign types stand here by name, so importing this module imports none of those libraries; the thin client needs
it beside grpcio, protobuf and numpy alone.

| ours      | Arrow                  | DuckDB                   | Polars              | wire (``FeatureRow``) |
| --------- | ---------------------- | ------------------------ | ------------------- | --------------------- |
| Bool      | bool                   | BOOLEAN                  | Boolean             | bools                 |
| Int32     | int32                  | INTEGER                  | Int32               | int32s                |
| Int64     | int64                  | BIGINT                   | Int64               | int64s                |
| Float32   | float                  | FLOAT                    | Float32             | floats                |
| Float64   | double                 | DOUBLE                   | Float64             | doubles               |
| String    | string                 | VARCHAR                  | String              | strings               |
| Bytes     | binary                 | BLOB                     | Binary              | blobs                 |
| Date      | date32[day]            | DATE                     | Date                | int32s (days)         |
| Timestamp | timestamp[us, tz=UTC]  | TIMESTAMP WITH TIME ZONE | Datetime(us, UTC)   | int64s (us since 1970)|
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from featurestore.errors import DefinitionError, TimestampError, closest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

__all__ = [
    "BY_NAME",
    "Bool",
    "Bytes",
    "DType",
    "Date",
    "Float32",
    "Float64",
    "Int32",
    "Int64",
    "String",
    "Timestamp",
    "by_name",
    "microseconds",
    "utc",
]


@dataclass(frozen=True, slots=True)
class DType:
    """One type.

    Attributes:
        name: ours; it stands in definitions, in the registry and in schemas sent to clients.
        arrow: the name that :func:`pyarrow.type_for_alias` or :meth:`to_arrow` knows.
        duckdb: the SQL type.
        polars: the attribute of the ``polars`` module.
        wire: the repeated field of ``FeatureRow`` that carries it.
        width: bytes of one value in that field when packed, or 0 when the width varies.
        numpy: little-endian NumPy type of the packed field, or "" when the width varies.
        numeric: whether distances between values mean anything.
        key: whether a join key may have this type (floats may not: equal is not the same as equal for them).
    """

    name: str
    arrow: str
    duckdb: str
    polars: str
    wire: str
    width: int
    numpy: str
    numeric: bool = False
    key: bool = True

    def __repr__(self) -> str:
        return self.name

    def to_arrow(self) -> pa.DataType:
        """Return the :class:`pyarrow.DataType`."""
        import pyarrow

        if self is Timestamp:
            return pyarrow.timestamp("us", tz="UTC")
        return pyarrow.type_for_alias(self.arrow)

    def to_polars(self) -> pl.DataType:
        """Return the :class:`polars.DataType`."""
        import polars

        if self is Timestamp:
            return polars.Datetime("us", "UTC")
        dtype: pl.DataType = getattr(polars, self.polars)()
        return dtype


Bool = DType("Bool", "bool", "BOOLEAN", "Boolean", "bools", 1, "?")
Int32 = DType("Int32", "int32", "INTEGER", "Int32", "int32s", 4, "<i4", numeric=True)
Int64 = DType("Int64", "int64", "BIGINT", "Int64", "int64s", 8, "<i8", numeric=True)
Float32 = DType("Float32", "float", "FLOAT", "Float32", "floats", 4, "<f4", numeric=True, key=False)
Float64 = DType("Float64", "double", "DOUBLE", "Float64", "doubles", 8, "<f8", numeric=True, key=False)
String = DType("String", "string", "VARCHAR", "String", "strings", 0, "")
Bytes = DType("Bytes", "binary", "BLOB", "Binary", "blobs", 0, "")
Date = DType("Date", "date32", "DATE", "Date", "int32s", 4, "<i4")
Timestamp = DType("Timestamp", "timestamp[us]", "TIMESTAMP WITH TIME ZONE", "Datetime", "int64s", 8, "<i8")

BY_NAME: Mapping[str, DType] = {
    dtype.name: dtype for dtype in (Bool, Int32, Int64, Float32, Float64, String, Bytes, Date, Timestamp)
}


def by_name(name: str) -> DType:
    """Return the type of that name.

    Raises:
        DefinitionError: no type has that name.
    """
    try:
        return BY_NAME[name]
    except KeyError:
        raise DefinitionError(f'There is no type "{name}".', hint=closest(name, BY_NAME)) from None


def utc(value: Any, what: str) -> datetime:
    """Return an aware datetime in UTC from a datetime or an ISO 8601 text.

    Args:
        value: a :class:`datetime.datetime` with a zone, or a text such as ``2013-01-01T07:00:00Z``.
        what: the name of the thing that holds the value, for the message.

    Raises:
        TimestampError: the value is not an instant, or names no zone.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise TimestampError(
                f'{what} is "{value}", which is not a timestamp.', hint="Write it as 2013-01-01T07:00:00Z."
            ) from None
    if not isinstance(value, datetime):
        raise TimestampError(f"{what} is {value!r}, not a timestamp.", hint="Pass an aware datetime.")
    if value.tzinfo is None:
        raise TimestampError(
            f"{what} is {value.isoformat()}, which names no time zone.",
            hint=f"For UTC: {value.isoformat()}Z as text, or datetime(..., tzinfo=UTC) in Python.",
        )
    return value.astimezone(UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(instant: datetime) -> int:
    """Return microseconds since 1970-01-01T00:00:00Z, exactly.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC))
    1000001
    """
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
