"""Types that only a database's driver knows, as Arrow types that a declaration can be compared with."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from featurestore.errors import SchemaError
from featurestore.types import DType

#: Wide enough for what a database calls numeric, so that only the step to the declared type can lose something.
_ANY_NUMERIC = pa.decimal256(76, 38)


def plain_schema(schema: pa.Schema, declared: Mapping[str, DType], what: str) -> pa.Schema:
    """Return the columns of a query without types of the driver's own.

    A numeric, which drivers hand over as text so that no digit is lost, becomes the number that is declared.

    Args:
        schema: the columns as the driver gives them.
        declared: the types of those columns that the view takes.
        what: what gives them, to begin messages.

    Raises:
        SchemaError: a column that the view takes is of a type that has no counterpart.
    """
    fields = []
    for field in schema:
        dtype = declared.get(field.name)
        wanted = None if dtype is None else dtype.to_arrow()
        plain = _plain_type(field.type, wanted)
        if plain is None:
            kind = getattr(field.type, "type_name", None) or getattr(field.type, "extension_name", field.type)
            raise SchemaError(
                f'{what} gives column "{field.name}" as {kind}; it is declared as {dtype}.',
                hint=f"Cast it in the query, such as CAST({field.name} AS text).",
            )
        fields.append(pa.field(field.name, plain))
    return pa.schema(fields)


def plainly(batch: pa.RecordBatch, schema: pa.Schema, what: str) -> pa.RecordBatch:
    """Return a batch of the driver's in the types of :func:`plain_schema`.

    Raises:
        SchemaError: a value is none of its column's type, or would lose digits.
    """
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        try:
            columns.append(_plain(column, field.type))
        except pa.ArrowInvalid as error:
            raise SchemaError(
                f'{what} gives values of column "{field.name}" that cannot be {field.type} without loss: '
                f"{str(error).splitlines()[0].rstrip('.')}.",
                hint="Round or cast them in the query, or change the dtype in the definition.",
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain_type(present: pa.DataType, wanted: pa.DataType | None) -> pa.DataType | None:
    """Return the plain type for a driver's; None if there is none for the wanted one."""
    if pa.types.is_list(present):
        inside = _plain_type(present.value_type, getattr(wanted, "value_type", None))
        return None if inside is None else pa.list_(inside)
    if not isinstance(present, pa.BaseExtensionType):
        return present
    if _is_numeric(present) and wanted is not None:
        if pa.types.is_decimal(wanted):
            return wanted
        if pa.types.is_floating(wanted):
            return pa.float64()
        return pa.int64() if pa.types.is_integer(wanted) else None
    if wanted is None or present.extension_name == "arrow.json":
        return present.storage_type
    return None


def _is_numeric(present: pa.DataType) -> bool:
    return isinstance(present, pa.OpaqueType) and present.type_name == "numeric"


def _plain(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if column.type == wanted:
        return column
    if pa.types.is_list(wanted):
        nulls = column.is_null() if column.null_count else None
        return pa.ListArray.from_arrays(column.offsets, _plain(column.values, wanted.value_type), mask=nulls)
    plain = column.storage if isinstance(column.type, pa.BaseExtensionType) else column
    if pa.types.is_integer(wanted) and pa.types.is_string(plain.type):
        plain = plain.cast(_ANY_NUMERIC)  # 5.00 is a whole number
    return plain.cast(wanted)
