"""The content hash of the first manifests, kept so that their datasets can still be proved; it never changes."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.offline.intake.conform import is_list

_ROWS = 1 << 20


def first_content_hash(table: pa.Table) -> str:
    """Return SHA-256, as 64 hexadecimal digits, over names, types, nulls and values, in the order of rows.

    Each column counts for itself: its name and type; then, for slices of 2^20 rows, which values are there, and the
    values, little-endian, those of nulls as zeros, texts preceded by their lengths. Types count for what they hold, not
    for how: a text is a text whether its Arrow type is string, large_string, string_view or a dictionary of these, and
    a list is one whether its size is fixed or not. Lists are their lengths, those of nulls as zeros, and then their
    elements as a column; structs are each field as a column, null where the struct is.
    """
    digest = hashlib.sha256(f"rows {table.num_rows}\n".encode())
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"column {json.dumps([field.name, _logical(field.type)])}\n".encode())
        for start in range(0, table.num_rows, _ROWS):
            _update(digest, column.slice(start, _ROWS))
    return digest.hexdigest()


def _logical(dtype: pa.DataType) -> str:
    if pa.types.is_dictionary(dtype):
        return _logical(dtype.value_type)
    if _is_text(dtype):
        return "string"
    if _is_blob(dtype):
        return "binary"
    if is_list(dtype):
        return f"list<{_logical(dtype.value_type)}>"
    if pa.types.is_struct(dtype):
        return "struct<" + ", ".join(f"{json.dumps(one.name)}: {_logical(one.type)}" for one in dtype) + ">"
    return str(dtype)


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def _is_blob(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype))


def _update(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    digest.update(_values(column.is_valid().cast(pa.uint8())))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type) or _is_blob(column.type):
        # By way of the plain types: Arrow casts no view to a large type.
        plain = column.cast(pa.large_string() if _is_text(column.type) else pa.large_binary())
        blobs = pc.fill_null(plain.cast(pa.large_binary()), b"")
        digest.update(_values(pc.binary_length(blobs).cast(pa.int64())))
        digest.update(b"".join(blobs.to_pylist()))
    elif pa.types.is_boolean(column.type):
        digest.update(_values(column.cast(pa.uint8())))
    elif pa.types.is_timestamp(column.type) or pa.types.is_date64(column.type):
        digest.update(_values(column.cast(pa.int64())))
    elif pa.types.is_date32(column.type):
        digest.update(_values(column.cast(pa.int32())))
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        digest.update(_values(column))
    elif is_list(column.type):
        lists = column.combine_chunks().cast(pa.large_list(column.type.value_type))
        digest.update(_values(pc.list_value_length(pa.chunked_array([lists])).cast(pa.int64())))
        _update(digest, pa.chunked_array([lists.flatten()]))
    elif pa.types.is_struct(column.type):
        for inner in column.combine_chunks().flatten():
            _update(digest, pa.chunked_array([inner]))
    else:  # decimals, times: rare among entity rows, and NumPy holds them only as objects
        digest.update(repr(column.to_pylist()).encode())


def _values(column: pa.ChunkedArray) -> bytes:
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0).cast(column.type))
    values = column.to_numpy()
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
