"""Join keys as bytes: two keys are equal exactly when their bytes are.

Minus zero equals zero. NaN equals nothing, as null does, so a key that has it is none.

A key's parts have declared types, so parts of fixed width need no separator, and parts of variable width carry their
length: (1, 23) and (12, 3), or ("a", "bc") and ("ab", "c"), differ. LMDB takes keys of up to 511 bytes; a longer one
is kept as its 256-bit hash, marked as such, so that it cannot equal a short key.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore import types
from featurestore.types.table import MAX_PRECISION

_PLAIN, _HASHED = b"\x00", b"\x01"
#: Of as many digits as a Decimal may have.
_EXACT = Context(prec=MAX_PRECISION)
#: Bytes that a key may take before it is hashed; it leaves room for a store's own prefix.
MAX_BYTES = 480


def _sized(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


_FLOAT, _DOUBLE = struct.Struct(">f"), struct.Struct(">d")

_ENCODERS: dict[types.DType, Callable[[Any], bytes]] = {
    types.Bool: struct.Struct(">?").pack,
    types.Int32: struct.Struct(">i").pack,
    types.Int64: struct.Struct(">q").pack,
    types.Float32: lambda value: _FLOAT.pack(value + 0.0),  # minus zero plus zero is zero
    types.Float64: lambda value: _DOUBLE.pack(value + 0.0),
    types.Date: struct.Struct(">i").pack,
    types.Timestamp: struct.Struct(">q").pack,
    types.String: lambda value: _sized(value.encode()),
    types.Bytes: _sized,
}


def _encoder(dtype: types.DType) -> Callable[[Any], bytes]:
    if dtype.precision:
        # All values have the type's scale, so the digits alone tell them apart.
        return lambda value: int(format(value, "f").replace(".", "")).to_bytes(16, "big", signed=True)
    return _ENCODERS[dtype]


_DECODERS: dict[types.DType, struct.Struct] = {
    types.Bool: struct.Struct(">?"),
    types.Int32: struct.Struct(">i"),
    types.Int64: struct.Struct(">q"),
    types.Float32: _FLOAT,
    types.Float64: _DOUBLE,
    types.Date: struct.Struct(">i"),
    types.Timestamp: struct.Struct(">q"),
}
#: Those of integers, of a key that has no other part: its kind first.
_WHOLE: dict[types.DType, Callable[..., bytes]] = {
    types.Int32: struct.Struct(">Bi").pack,
    types.Int64: struct.Struct(">Bq").pack,
    types.Date: struct.Struct(">Bi").pack,
    types.Timestamp: struct.Struct(">Bq").pack,
}
#: The same, as NumPy has them.
_PACKED: dict[types.DType, str] = {
    types.Bool: "?",
    types.Int32: ">i4",
    types.Int64: ">i8",
    types.Float32: ">f4",
    types.Float64: ">f8",
    types.Date: ">i4",
    types.Timestamp: ">i8",
}
_SIZE = struct.Struct(">I")
_DECIMAL_BYTES = 16


def _decoded(dtype: types.DType, key: bytes, at: int) -> tuple[Any, int]:
    """Return the part of a key that begins at a place, and where the next one begins."""
    if dtype.precision:
        end = at + _DECIMAL_BYTES
        return Decimal(int.from_bytes(key[at:end], "big", signed=True)).scaleb(-dtype.scale, _EXACT), end
    if dtype in _DECODERS:
        return _DECODERS[dtype].unpack_from(key, at)[0], at + _DECODERS[dtype].size
    start = at + _SIZE.size
    end = start + _SIZE.unpack_from(key, at)[0]
    return (key[start:end].decode() if dtype is types.String else key[start:end]), end


def _packed(dtypes: Sequence[types.DType]) -> np.dtype[Any] | None:
    """Return how a key's bytes lie whose parts are all of fixed width; None for another, and for one to be hashed."""
    if not all(dtype in _PACKED for dtype in dtypes):
        return None
    parts = np.dtype([("kind", "u1"), *((f"part{place}", _PACKED[dtype]) for place, dtype in enumerate(dtypes))])
    return parts if parts.itemsize <= MAX_BYTES else None


class KeyLayout:
    """How the join keys of one view become bytes.

    Args:
        keys: each join key with its type, in the view's order.
    """

    def __init__(self, keys: Mapping[str, types.DType]) -> None:
        self.names = tuple(keys)
        self._dtypes = tuple(keys.values())
        self._encoders = tuple(_encoder(dtype) for dtype in self._dtypes)
        self._packed = _packed(self._dtypes)
        #: Packs the only part, a number, together with the byte before it.
        self._whole = _WHOLE.get(self._dtypes[0]) if len(self._dtypes) == 1 else None
        self._floats = tuple(
            place for place, dtype in enumerate(self._dtypes) if dtype in (types.Float32, types.Float64)
        )

    def encode(self, columns: Sequence[Sequence[Any]]) -> list[bytes | None]:
        """Return the key of each row; None where a part is None or NaN, since these equal nothing.

        Args:
            columns: one sequence for each join key: numbers (days for Date, microseconds for Timestamp, for a Decimal
                :class:`decimal.Decimal` with the type's scale), texts, bytes or truth values.
        """
        if self._floats:
            columns = list(columns)
            for place in self._floats:
                columns[place] = [None if value != value else value for value in columns[place]]
        if len(columns) == 1:
            if self._whole is not None:
                pack = self._whole
                return [None if value is None else pack(0, value) for value in columns[0]]
            encode = self._encoders[0]
            return [None if value is None else _bounded(encode(value)) for value in columns[0]]
        return [
            None
            if None in row
            else _bounded(b"".join([encode(value) for encode, value in zip(self._encoders, row, strict=True)]))
            for row in zip(*columns, strict=True)
        ]

    def encode_one(self, value: Any) -> bytes:
        """Return the key of a row whose only part is a value, which is neither None nor NaN."""
        return self._whole(0, value) if self._whole is not None else _bounded(self._encoders[0](value))

    def decode(self, key: bytes) -> tuple[Any, ...] | None:
        """Return the parts of a key as :meth:`encode` took them; None if it was too long and is kept as its hash."""
        if not key.startswith(_PLAIN):
            return None
        parts, at = [], len(_PLAIN)
        for dtype in self._dtypes:
            value, at = _decoded(dtype, key, at)
            parts.append(value)
        return tuple(parts)

    def encode_batch(self, batch: pa.RecordBatch) -> list[bytes | None]:
        """Return the key of each row of a batch that has the join keys in their declared types."""
        columns = []
        for name, dtype in zip(self.names, self._dtypes, strict=True):
            column = batch[name]
            if dtype is types.Timestamp:
                column = column.cast(pa.int64())
            elif dtype is types.Date:
                column = column.cast(pa.int32())
            columns.append(column)
        if self._packed is not None:
            return self._pack(columns, self._packed)
        return self.encode([column.to_pylist() for column in columns])

    def _pack(self, columns: Sequence[pa.Array], layout: np.dtype[Any]) -> list[bytes | None]:
        """Return the keys of rows whose parts are all of fixed width, without a step in Python for each."""
        rows = np.zeros(len(columns[0]), layout)
        absent = np.zeros(len(rows), np.bool_)
        for place, (column, dtype) in enumerate(zip(columns, self._dtypes, strict=True)):
            if column.null_count:
                absent |= column.is_null().to_numpy(zero_copy_only=False)
                column = column.fill_null(False if dtype is types.Bool else 0)
            values = column.to_numpy(zero_copy_only=False)
            if place in self._floats:
                absent |= np.isnan(values)
                values = values + values.dtype.type(0)  # minus zero plus zero is zero
            rows[f"part{place}"] = values
        keys: list[bytes | None] = rows.view(f"V{layout.itemsize}").tolist()
        for place in np.flatnonzero(absent).tolist():
            keys[place] = None
        return keys


def _bounded(parts: bytes) -> bytes:
    if len(parts) < MAX_BYTES:
        return _PLAIN + parts
    return _HASHED + hashlib.blake2b(parts, digest_size=32).digest()
