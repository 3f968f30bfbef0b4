"""How each column of a data file is stored: by what its first rows are like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions.names import EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER

#: Rows of the first batch that tell what a column is like.
_PROBED_ROWS = 16_384
#: Values that say something of a column: of fewer a dictionary costs nothing.
_LEAST_VALUES = 1_024
#: Numbers that compress to more than this share of their bytes are stored as they are, and so written and read in half
#: the time.
_WORTH_COMPRESSING = 0.9
#: Integers whose range takes more bits than this are not stored as differences, which would take as many bits.
_NEAR_BITS = 48

_CODEC, _LEVEL = "zstd", 1
_DELTA = "DELTA_BINARY_PACKED"


def column_options(first: pa.RecordBatch) -> dict[str, Any]:
    """Return how :class:`pyarrow.parquet.ParquetWriter` is to store rows, as its keyword arguments.

    Values that come again are a dictionary. Where hardly any does, it would be tried in vain, which costs more than all
    the rest of writing them: there integers, instants and dates that lie near each other are stored as differences,
    packed into as few bits as they need. Numbers that compression does not make smaller are not compressed.

    Args:
        first: the first rows.
    """
    dictionary: list[str] = []
    encodings: dict[str, str] = {}
    compression: dict[str, str] = {}
    for field in first.schema:
        column = first.column(field.name)
        repeats = _repeats(field.name, column)
        for path in _leaves(field.type, field.name):
            compression[path] = _CODEC
            if repeats:
                dictionary.append(path)
            elif _lie_near(field.name, column):
                encodings[path] = _DELTA
            elif pa.types.is_primitive(field.type) and not _compresses(column):
                compression[path] = "none"
    return {
        "use_dictionary": dictionary,
        "column_encoding": encodings,
        "compression": compression,
        "compression_level": {path: _LEVEL for path, codec in compression.items() if codec == _CODEC},
    }


def _repeats(name: str, column: pa.Array) -> bool:
    """Whether a dictionary of a column is worth trying; of nested ones it always is tried."""
    if name in (EVENT_TIMESTAMP, ROW_NUMBER):
        return False
    if name == LOAD_ID or pa.types.is_dictionary(column.type) or pa.types.is_nested(column.type):
        return True
    probed = column[:_PROBED_ROWS].drop_null()
    return len(probed) < _LEAST_VALUES or len(probed.unique()) <= len(probed) / 2


def _lie_near(name: str, column: pa.Array) -> bool:
    if name in (EVENT_TIMESTAMP, ROW_NUMBER):
        return True
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if not pa.types.is_integer(column.type):
        return False
    ends = pc.min_max(column[:_PROBED_ROWS])
    return bool((ends["max"].as_py() - ends["min"].as_py()).bit_length() <= _NEAR_BITS)


def _compresses(column: pa.Array) -> bool:
    values = column[:_PROBED_ROWS].drop_null().to_numpy(zero_copy_only=False)
    packed = pa.Codec(_CODEC, compression_level=_LEVEL).compress(values.tobytes())
    return bool(packed.size <= _WORTH_COMPRESSING * values.nbytes)


def _leaves(dtype: pa.DataType, path: str) -> Iterator[str]:
    """Yield the columns of the file that a column of rows becomes."""
    if pa.types.is_struct(dtype):
        for inner in dtype:
            yield from _leaves(inner.type, f"{path}.{inner.name}")
    elif pa.types.is_list(dtype):
        yield from _leaves(dtype.value_type, f"{path}.list.element")
    else:
        yield path
