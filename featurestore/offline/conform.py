"""Columns as they come -> columns as a definition declares them, without loss, or an error that says why not."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from featurestore import types
from featurestore.errors import SchemaError, TimestampError, closest


def conform(column: pa.ChunkedArray | pa.Array, dtype: types.DType, name: str, what: str) -> tuple[pa.Array, str]:
    """Return the column in the declared type, and a note if that took a cast.

    Casts that keep every value are made: integers to wider ones, whole floats to integers. So are two that a
    declared type asks for, and they are said: doubles rounded to Float32, nanoseconds cut down to microseconds. A
    number never becomes a text, nor a text a number.

    Args:
        column: the values.
        dtype: the declared type.
        name: the column's name, for messages.
        what: what the rows are for, for messages.

    Raises:
        SchemaError: the type is another one, or a value would change.
        TimestampError: a timestamp has no time zone.
    """
    wanted = dtype.to_arrow()
    present = column.type
    if isinstance(present, pa.DictionaryType):
        column = column.cast(present.value_type)
        present = column.type
    if present == wanted or pa.types.is_null(present) or _same_values(present, wanted):
        return column.cast(wanted), ""
    if dtype is types.Timestamp:
        return instants(column, name, what)
    if not _castable(present, wanted):
        raise SchemaError(
            f'Column "{name}" of {what} is {present}; it is declared as {dtype} ({wanted}).',
            hint="Cast it before, or change the dtype in the definition.",
        )
    try:
        cast = column.cast(wanted, safe=True)
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f'Column "{name}" of {what} is {present} and cannot be {dtype} without loss: {_first(error)}.',
            hint="Change the dtype in the definition, or mend the values.",
        ) from error
    if dtype is types.Float32 and pc.any(pc.and_(pc.is_inf(cast), pc.is_finite(column))).as_py():
        raise SchemaError(
            f'Column "{name}" of {what} is {present} and has values too large for {dtype}.',
            hint="Change the dtype in the definition, or mend the values.",
        )
    return cast, f'column "{name}" cast from {present} to {wanted}'


def instants(
    column: pa.ChunkedArray | pa.Array, name: str, what: str, *, true_from: bool = False
) -> tuple[pa.Array, str]:
    """Return a column of timestamps in microseconds UTC, and a note if that took a conversion.

    Args:
        column: the timestamps.
        name: the column's name, for messages.
        what: what the rows are for, for messages.
        true_from: whether rows are true from these instants on. Nanoseconds are then brought up, and else cut down:
            so an instant never meets a row that was true only some nanoseconds after it.

    Raises:
        SchemaError: it does not hold timestamps.
        TimestampError: it names no time zone, or an instant lies beyond what microseconds can count.
    """
    wanted = types.Timestamp.to_arrow()
    present = column.type
    if pa.types.is_dictionary(present):
        column = column.cast(present.value_type)
        present = column.type
    if present == wanted or pa.types.is_null(present):
        return column.cast(wanted), ""
    if pa.types.is_date(present):
        midnight = column.cast(pa.timestamp("us")).cast(wanted)
        return midnight, f'column "{name}": dates taken as midnight UTC'
    if not pa.types.is_timestamp(present):
        raise SchemaError(
            f'Column "{name}" of {what} is {present}, not a timestamp.', hint="Pass timestamps that name a time zone."
        )
    if present.tz is None:
        raise TimestampError(
            f'Column "{name}" of {what} has timestamps that name no time zone.',
            hint='Name it: pandas .dt.tz_localize("UTC"), Polars .dt.replace_time_zone("UTC"); '
            "in a CSV file write 2013-01-01T07:00:00Z.",
        )
    if present.unit == "ns":
        whole = _whole_microseconds(column.cast(pa.int64()), up=true_from)
        direction = "brought up to the next microsecond" if true_from else "cut down to microseconds"
        return whole.cast(wanted), f'column "{name}": nanoseconds {direction}'
    try:
        return column.cast(wanted), ""
    except pa.ArrowInvalid as error:
        raise TimestampError(
            f'Column "{name}" of {what} has instants that microseconds cannot hold: {_first(error)}.',
            hint="Mend the values.",
        ) from error


def find(table: pa.Table | pa.RecordBatch, name: str, what: str) -> pa.ChunkedArray | pa.Array:
    """Return a column by name.

    Raises:
        SchemaError: there is none, or more than one.
    """
    places = table.schema.get_all_field_indices(name)
    if len(places) == 1:
        return table.column(places[0])
    if places:
        raise SchemaError(f'{sentence(what)} have {len(places)} columns "{name}".', hint="Keep one of them.")
    raise SchemaError(f'{sentence(what)} have no column "{name}".', hint=closest(name, table.schema.names))


def sentence(text: str) -> str:
    """Return a text as a sentence begins."""
    return text[:1].upper() + text[1:]


def _whole_microseconds(nanoseconds: pa.ChunkedArray | pa.Array, *, up: bool) -> pa.ChunkedArray | pa.Array:
    # Arrow's floor_temporal and ceil_temporal overflow at the ends of what nanoseconds can count.
    whole = pc.divide(nanoseconds, 1000)  # towards zero
    back = pc.multiply(whole, 1000)
    if up:
        return pc.add(whole, pc.greater(nanoseconds, back).cast(pa.int64()))
    return pc.subtract(whole, pc.less(nanoseconds, back).cast(pa.int64()))


def _same_values(present: pa.DataType, wanted: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    blobs = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(
        any(test(present) for test in family) and any(test(wanted) for test in family) for family in (texts, blobs)
    )


def _castable(present: pa.DataType, wanted: pa.DataType) -> bool:
    numbers = (pa.types.is_integer, pa.types.is_floating)
    if any(test(present) for test in numbers) and any(test(wanted) for test in numbers):
        return True
    return bool(pa.types.is_date(wanted) and pa.types.is_date(present))


def _first(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
