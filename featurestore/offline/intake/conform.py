"""Columns as they come -> columns as a definition declares them, without loss, or an error that says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore import types
from featurestore.errors import SchemaError, TimestampError, closest


def conform(column: pa.ChunkedArray | pa.Array, dtype: types.DType, name: str, what: str) -> tuple[pa.Array, str]:
    """Return the column in the declared type, and a note if that took a cast.

    Casts that keep every value are made: integers to wider ones and to decimals, decimals to others that hold them,
    decimals without a fraction to integers and floats (DuckDB's sum of integers is one of 38 digits), whole floats to
    integers. So are two that a declared type asks for, and they are said: doubles rounded to Float32,
    nanoseconds cut down to microseconds. A number never becomes a text, nor a text a number, and a float no decimal.
    What holds for a column holds for the elements of its lists and the fields of its structs.

    Args:
        column: the values.
        dtype: the declared type.
        name: the column's name, for messages.
        what: what the rows are for, for messages.

    Raises:
        SchemaError: the type is another one, a value would change, or an embedding has another length or a null.
        TimestampError: a timestamp has no time zone.
    """
    stored, note = conform_stored(column, dtype, name, what)
    if not has_embedding(dtype):
        return stored, note
    faulty = pc.sum(broken_embeddings(stored, dtype)).as_py()
    if faulty:
        raise SchemaError(
            f'Column "{name}" of {what} is declared as {dtype}, and in {faulty:,} rows an embedding has another length '
            "or a null in it.",
            hint="Mend the values; an embedding as a whole may be null.",
        )
    return _sized(stored, dtype), note


def conform_stored(
    column: pa.ChunkedArray | pa.Array, dtype: types.DType, name: str, what: str
) -> tuple[pa.Array, str]:
    """Return the column as a table keeps it: as :func:`conform`, but embeddings are lists, of whatever length."""
    wanted = stored_type(dtype)
    if not dtype.scalar and isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    present = column.type
    if isinstance(present, pa.DictionaryType):
        column = column.cast(present.value_type)
        present = column.type
    if present == wanted or pa.types.is_null(present) or _same_values(present, wanted):
        return column.cast(wanted), ""
    if not dtype.scalar:
        return _conform_nested(column, dtype, name, what)
    if dtype == types.Timestamp:
        return instants(column, name, what)
    if not _castable(present, wanted):
        raise SchemaError(
            f'Column "{name}" of {what} is {present}; it is declared as {dtype} ({wanted}).',
            hint="Cast it before, or change the dtype in the definition.",
        )
    try:
        # Arrow takes an integer for a decimal only where the widest integer would fit, whatever there is.
        exact = column.cast(pa.decimal128(20, 0)) if dtype.precision and pa.types.is_integer(present) else column
        if _is_whole(present) and not dtype.precision:
            # By way of integers: Arrow would round a decimal that a float cannot hold.
            exact = column.cast(pa.int64(), safe=True)
        cast = exact.cast(wanted, safe=True)
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f'Column "{name}" of {what} is {present} and cannot be {dtype} without loss: {_first(error)}.',
            hint="Change the dtype in the definition, or mend the values.",
        ) from error
    if dtype == types.Float32 and pc.any(pc.and_(pc.is_inf(cast), pc.is_finite(column))).as_py():
        raise SchemaError(
            f'Column "{name}" of {what} is {present} and has values too large for {dtype}.',
            hint="Change the dtype in the definition, or mend the values.",
        )
    if dtype.precision and pa.types.is_decimal(
        present
    ):  # the same numbers, and Arrow gives those of Python no more digits than they have
        return cast, ""
    return cast, f'column "{name}" cast from {present} to {wanted}'


def stored_type(dtype: types.DType) -> pa.DataType:
    """Return the Arrow type in which a table keeps a type: Delta has no lists of a fixed size."""
    if dtype.fields:
        return pa.struct([(name, stored_type(inner)) for name, inner in dtype.fields])
    return dtype.to_arrow() if dtype.element is None else pa.list_(stored_type(dtype.element))


def has_embedding(dtype: types.DType) -> bool:
    """Return whether a type is an Embedding, or has one within."""
    return any(one.size for one in dtype.parts())


def broken_embeddings(column: pa.Array, dtype: types.DType) -> pa.Array:
    """Return, for each row, whether an embedding in it has another length than its type, or a null number.

    Args:
        column: as :func:`conform_stored` returns it.
        dtype: the declared type.
    """
    if dtype.fields:
        broken = pa.repeat(pa.scalar(False), len(column))
        for inner, (_, inner_type) in zip(column.flatten(), dtype.fields, strict=True):
            broken = pc.or_(broken, broken_embeddings(inner, inner_type))
        return broken
    if dtype.element is None:
        return pa.repeat(pa.scalar(False), len(column))
    elements = column.flatten()
    faults = pc.is_null(elements) if dtype.size else broken_embeddings(elements, dtype.element)
    rows = pc.list_parent_indices(column).filter(faults)
    broken = pc.is_in(pa.array(np.arange(len(column))).cast(rows.type), value_set=rows)
    if dtype.size:
        broken = pc.or_(broken, pc.fill_null(pc.not_equal(pc.list_value_length(column), dtype.size), False))
    return broken


def as_key(column: pa.Array) -> pa.Array:
    """Return a column of join keys in which equal values are the same bits: minus zero is zero."""
    return pc.add(column, pa.scalar(0, column.type)) if pa.types.is_floating(column.type) else column


def _conform_nested(array: pa.Array, dtype: types.DType, name: str, what: str) -> tuple[pa.Array, str]:
    present = array.type
    if dtype.fields and pa.types.is_struct(present):
        given = {inner.name: values for inner, values in zip(present, array.flatten(), strict=True)}
        children, notes = [], []
        for inner, inner_type in dtype.fields:
            if inner not in given:
                raise SchemaError(
                    f'Column "{name}" of {what} has structs without a field "{inner}".', hint=closest(inner, given)
                )
            child, note = conform_stored(given.pop(inner), inner_type, f"{name}.{inner}", what)
            children.append(child)
            notes.append(note)
        notes += [f'ignored field "{name}.{surplus}", which {dtype} has not' for surplus in given]
        fields = list(stored_type(dtype))
        made = pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())
        return made, "; ".join(note for note in notes if note)
    if dtype.element is not None and is_list(present):
        array = array.cast(pa.list_(present.value_type))
        elements, note = conform_stored(array.flatten(), dtype.element, f"{name}[]", what)
        return _lists(array, elements), note
    raise SchemaError(
        f'Column "{name}" of {what} is {present}; it is declared as {dtype} ({stored_type(dtype)}).',
        hint="Pass lists or structs of these, or change the dtype in the definition.",
    )


def _lists(like: pa.Array, elements: pa.Array) -> pa.Array:
    """Return lists of other elements, as long as those of ``like``, and null where these are."""
    lengths = pc.fill_null(pc.list_value_length(like), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, elements, type=pa.list_(elements.type), mask=like.is_null())


def _sized(column: pa.Array, dtype: types.DType) -> pa.Array:
    """Return a column as :func:`conform_stored` gives it, none of whose embeddings is broken, in the declared type."""
    # Arrow's own cast to lists of a fixed size stumbles over nulls that lie in other nulls.
    if dtype.fields:
        pairs = zip(column.flatten(), dtype.fields, strict=True)
        children = [_sized(child, inner) for child, (_, inner) in pairs]
        return pa.StructArray.from_arrays(children, fields=list(dtype.to_arrow()), mask=column.is_null())
    if dtype.size:
        vectors = np.zeros((len(column), dtype.size), np.float32)
        present = column.is_valid().to_numpy(zero_copy_only=False)
        vectors[present] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dtype.size)
        numbers = pa.array(vectors.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(numbers, type=dtype.to_arrow(), mask=column.is_null())
    if dtype.element is not None:
        return _lists(column, _sized(column.flatten(), dtype.element))
    return column


def extremes(column: pa.Array) -> tuple[Any, Any, bool]:
    """Return the least and the greatest value of a column, None where there is none, and whether it has a NaN.

    NaN is no extreme. The values are Python's, of numbers and instants alike.
    """
    if pa.types.is_floating(column.type) and len(column):
        # One look in NumPy, where a NaN wins, is a tenth of what Arrow's two kernels take.
        values = (column.drop_null() if column.null_count else column).to_numpy(zero_copy_only=False)
        if len(values):
            low, high = float(values.min()), float(values.max())
            if low == low:
                return low, high, False
    found = pc.min_max(column)
    has_nan = pa.types.is_floating(column.type) and bool(pc.any(pc.is_nan(column)).as_py())
    low, high = found["min"].as_py(), found["max"].as_py()
    return (None, None, True) if low != low else (low, high, has_nan)


def is_list(present: pa.DataType) -> bool:
    """Return whether an Arrow type is a list, of whichever encoding."""
    kinds = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    return any(getattr(pa.types, f"is_{kind}")(present) for kind in kinds)


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
    given = [one for one in table.schema.names if not one.endswith("__")]  # the others are our own
    raise SchemaError(f'{sentence(what)} have no column "{name}".', hint=closest(name, given))


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
    if pa.types.is_decimal(wanted):
        return bool(pa.types.is_decimal(present) or pa.types.is_integer(present))
    numbers = (pa.types.is_integer, pa.types.is_floating)
    if _is_whole(present) and any(test(wanted) for test in numbers):
        return True
    if any(test(present) for test in numbers) and any(test(wanted) for test in numbers):
        return True
    return bool(pa.types.is_date(wanted) and pa.types.is_date(present))


def _is_whole(dtype: pa.DataType) -> bool:
    """Whether a type is a decimal without a fraction: an integer of many digits, DuckDB's HUGEINT."""
    return bool(pa.types.is_decimal(dtype) and dtype.scale == 0)


def _first(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
