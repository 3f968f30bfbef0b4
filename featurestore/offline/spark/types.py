"""Our types as Spark's, and columns as they travel to it and back."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from featurestore import types
from featurestore.offline.intake.conform import as_key, conform, stored_type

_NAMES: Mapping[types.DType, str] = {
    types.Bool: "BOOLEAN",
    types.Int32: "INT",
    types.Int64: "BIGINT",
    types.Float32: "FLOAT",
    types.Float64: "DOUBLE",
    types.String: "STRING",
    types.Bytes: "BINARY",
    types.Date: "DATE",
    types.Timestamp: "TIMESTAMP",
}


def spark_type(dtype: types.DType) -> str:
    """Return a type as Spark's SQL names it."""
    if dtype.fields:
        return f"STRUCT<{', '.join(f'{quoted(name)}: {spark_type(inner)}' for name, inner in dtype.fields)}>"
    if dtype.element is not None:
        return f"ARRAY<{spark_type(dtype.element)}>"
    return f"DECIMAL({dtype.precision},{dtype.scale})" if dtype.precision else _NAMES[dtype]


def quoted(name: str) -> str:
    """Return a name quoted for Spark's SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return a text quoted for Spark's SQL, in which a backslash escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def plain(expression: str, dtype: types.DType) -> str:
    """Return a key as SQL that is compared: instants and days as the numbers that they are, in no time zone."""
    if dtype == types.Timestamp:
        return f"unix_micros({expression})"
    return f"unix_date({expression})" if dtype == types.Date else expression


def sent(column: pa.ChunkedArray, dtype: types.DType) -> pa.ChunkedArray:
    """Return a checked column of entity rows as it goes to Spark: as :func:`plain` has it."""
    if dtype == types.Timestamp:
        return column.cast(pa.int64())
    if dtype == types.Date:
        return column.cast(pa.int32())
    return as_key(column) if dtype.scalar else column.cast(stored_type(dtype))


def received(column: pa.Array, dtype: types.DType) -> pa.Array:
    """Return a column that :func:`sent` sent, or that Spark read from a table, in the declared type."""
    if pa.types.is_integer(column.type) and dtype in (types.Timestamp, types.Date):
        return column.cast(dtype.to_arrow())
    return conform(column, dtype, "column", "the table")[0]
