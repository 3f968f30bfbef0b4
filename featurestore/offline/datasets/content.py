"""A hash of a table's content that does not depend on how the table is encoded or chunked, over rows as they stream."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.offline.intake.conform import is_list

#: Which hash this is: it stands in the manifest beside the digest.
HASH_VERSION = 2


def content_hash(table: pa.Table) -> str:
    """Return the content hash of a table; see :class:`ContentHash`."""
    digest = ContentHash(table.schema)
    digest.update(table)
    return digest.hexdigest()


class ContentHash:
    """SHA-256 over names, types, nulls and values of rows that come in batches, in the order of rows.

    Each column counts for itself. It has one running digest of which values are there, one byte each, and one of the
    values: numbers little-endian, instants, dates and times as integers, decimals as text, and zeros where a value is
    null. Texts and blobs have a third, of their lengths. A list has one of the lengths, and its elements are a column
    of their own; each field of a struct is one too, null where the struct is. A digest does not know where a batch
    ended, so that neither the chunks of a table nor the row groups of a file matter, and memory stays that of a batch.

    Types count for what they hold, not for how: a text is a text whether its Arrow type is string, large_string,
    string_view or a dictionary of these; a list is one whether its size is fixed or not; and dates, times and instants
    in seconds, which Parquet has not, are those in milliseconds.

    Args:
        schema: of the rows.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = [(field.name, _Column(field.type)) for field in schema]
        self._rows = 0

    def update(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows, whose columns are those of the schema, in its order."""
        self._rows += rows.num_rows
        for (_, digest), column in zip(self._columns, rows.columns, strict=True):
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                digest.update(chunk)

    @property
    def rows(self) -> int:
        """How many rows came."""
        return self._rows

    def columns(self) -> dict[str, str]:
        """Return each column's own digest, by name: 64 hexadecimal digits."""
        return {name: digest.hexdigest() for name, digest in self._columns}

    def hexdigest(self) -> str:
        """Return the digest of the rows so far: 64 hexadecimal digits."""
        whole = hashlib.sha256(f"content {HASH_VERSION}\nrows {self._rows}\n".encode())
        for name, digest in self._columns:
            whole.update(f"{json.dumps(name)} {digest.hexdigest()}\n".encode())
        return whole.hexdigest()


class _Column:
    """The running digests of one column, or of the elements or fields inside one."""

    def __init__(self, dtype: pa.DataType) -> None:
        self._plain = plain_type(dtype)
        self._present, self._values, self._lengths = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self._inner: list[_Column] = []
        if pa.types.is_large_list(self._plain):
            self._inner = [_Column(self._plain.value_type)]
        elif pa.types.is_struct(self._plain):
            self._inner = [_Column(one.type) for one in self._plain]

    def update(self, array: pa.Array) -> None:
        """Add values."""
        plain = _as_plain(array, self._plain)
        if pa.types.is_decimal(plain.type):
            plain = plain.cast(pa.string()).cast(pa.large_string())
        self._present.update(_bytes(plain.is_valid().cast(pa.uint8())))
        if pa.types.is_large_binary(plain.type) or pa.types.is_large_string(plain.type):
            blobs = plain.cast(pa.large_binary()).fill_null(b"")
            self._lengths.update(_bytes(pc.binary_length(blobs)))
            self._values.update(_joined(blobs))
        elif pa.types.is_large_list(self._plain):
            self._lengths.update(_bytes(pc.list_value_length(plain).cast(pa.int64())))
            self._inner[0].update(plain.flatten())
        elif pa.types.is_struct(self._plain):
            for digest, field in zip(self._inner, plain.flatten(), strict=True):
                digest.update(field)
        elif not pa.types.is_null(plain.type):
            self._values.update(_bytes(_as_numbers(plain)))

    def hexdigest(self) -> str:
        """Return the digest of type and values so far."""
        whole = hashlib.sha256(_logical(self._plain).encode())
        for part in (self._present, self._lengths, self._values):
            whole.update(part.digest())
        for one in self._inner:
            whole.update(one.hexdigest().encode())
        return whole.hexdigest()


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """Return the one Arrow type that stands for all that hold the same values."""
    if isinstance(dtype, pa.BaseExtensionType):
        return plain_type(dtype.storage_type)
    if pa.types.is_dictionary(dtype):
        return plain_type(dtype.value_type)
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.large_string()
    if pa.types.is_binary(dtype) or pa.types.is_binary_view(dtype) or pa.types.is_fixed_size_binary(dtype):
        return pa.large_binary()
    if pa.types.is_decimal(dtype):
        return pa.decimal256(dtype.precision, dtype.scale)
    if pa.types.is_map(dtype):
        return pa.large_list(pa.struct([("key", plain_type(dtype.key_type)), ("value", plain_type(dtype.item_type))]))
    if is_list(dtype):
        return pa.large_list(plain_type(dtype.value_type))
    if pa.types.is_struct(dtype):
        return pa.struct([(one.name, plain_type(one.type)) for one in dtype])
    if pa.types.is_timestamp(dtype) and dtype.unit == "s":
        return pa.timestamp("ms", dtype.tz)
    if pa.types.is_date64(dtype):
        return pa.date32()
    return pa.time32("ms") if pa.types.is_time32(dtype) else dtype


def _as_plain(array: pa.Array, plain: pa.DataType) -> pa.Array:
    """Return values in their plain type; nested ones are brought there as their inner columns come."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_struct(plain):
        return array
    if pa.types.is_map(array.type):
        return array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    if pa.types.is_large_list(plain):
        return array  # Arrow's cast of a list view loses elements
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        # By way of the plain types: Arrow casts no view to a large type.
        array = array.cast(pa.string() if pa.types.is_string_view(array.type) else pa.binary())
    return array if array.type == plain else array.cast(plain)


def _logical(plain: pa.DataType) -> str:
    if pa.types.is_large_list(plain):
        return "list"
    if pa.types.is_struct(plain):
        return "struct " + json.dumps([one.name for one in plain])
    if pa.types.is_decimal(plain):
        return f"decimal({plain.precision}, {plain.scale})"
    return {"large_string": "string", "large_binary": "binary"}.get(str(plain), str(plain))


def _as_numbers(plain: pa.Array) -> pa.Array:
    if pa.types.is_boolean(plain.type):
        plain = plain.cast(pa.uint8())
    elif pa.types.is_temporal(plain.type):
        plain = plain.view(pa.int32() if plain.type.bit_width == 32 else pa.int64())
    elif pa.types.is_float16(plain.type):
        plain = plain.view(pa.uint16())
    return plain.fill_null(0)


def _joined(blobs: pa.LargeBinaryArray) -> memoryview:
    """Return the bytes of all values, one after the other, as Arrow holds them."""
    if not len(blobs):
        return memoryview(b"")
    _, offsets, values = blobs.buffers()
    starts = memoryview(offsets).cast("q")
    first, end = starts[blobs.offset], starts[blobs.offset + len(blobs)]
    return memoryview(values)[first:end] if values is not None else memoryview(b"")


def _bytes(numbers: pa.Array) -> bytes:
    if numbers.null_count:  # the length of a list or a text that is null
        numbers = numbers.fill_null(0)
    values = numbers.to_numpy(zero_copy_only=False)
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
