"""Join keys as bytes: two keys are equal exactly when their bytes are.

A key's parts have declared types, so parts of fixed width need no separator, and parts of variable width carry their
length: (1, 23) and (12, 3), or ("a", "bc") and ("ab", "c"), differ. LMDB takes keys of up to 511 bytes; a longer one
is kept as its 256-bit hash, marked as such, so that it cannot equal a short key.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from featurestore import types

_PLAIN, _HASHED = b"\x00", b"\x01"
#: Bytes that a key may take before it is hashed; it leaves room for a store's own prefix.
MAX_BYTES = 480


def _sized(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


_ENCODERS: dict[types.DType, Callable[[Any], bytes]] = {
    types.Bool: struct.Struct(">?").pack,
    types.Int32: struct.Struct(">i").pack,
    types.Int64: struct.Struct(">q").pack,
    types.Date: struct.Struct(">i").pack,
    types.Timestamp: struct.Struct(">q").pack,
    types.String: lambda value: _sized(value.encode()),
    types.Bytes: _sized,
}


class KeyLayout:
    """How the join keys of one view become bytes.

    Args:
        keys: each join key with its type, in the view's order.
    """

    def __init__(self, keys: Mapping[str, types.DType]) -> None:
        self.names = tuple(keys)
        self._dtypes = tuple(keys.values())
        self._encoders = tuple(_ENCODERS[dtype] for dtype in self._dtypes)

    def encode(self, columns: Sequence[Sequence[Any]]) -> list[bytes | None]:
        """Return the key of each row; None where a part is None, since null equals nothing.

        Args:
            columns: one sequence for each join key: integers (days for Date, microseconds for Timestamp), texts,
                bytes or truth values.
        """
        if len(columns) == 1:
            encode = self._encoders[0]
            return [None if value is None else _bounded(encode(value)) for value in columns[0]]
        return [
            None
            if None in row
            else _bounded(b"".join([encode(value) for encode, value in zip(self._encoders, row, strict=True)]))
            for row in zip(*columns, strict=True)
        ]

    def encode_batch(self, batch: pa.RecordBatch) -> list[bytes | None]:
        """Return the key of each row of a batch that has the join keys in their declared types."""
        columns = []
        for name, dtype in zip(self.names, self._dtypes, strict=True):
            column = batch[name]
            if dtype is types.Timestamp:
                column = column.cast(pa.int64())
            elif dtype is types.Date:
                column = column.cast(pa.int32())
            columns.append(column.to_pylist())
        return self.encode(columns)


def _bounded(parts: bytes) -> bytes:
    if len(parts) < MAX_BYTES:
        return _PLAIN + parts
    return _HASHED + hashlib.blake2b(parts, digest_size=32).digest()
