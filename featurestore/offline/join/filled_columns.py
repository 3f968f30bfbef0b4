"""Columns of numbers that are filled in any order, and by several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_UNSIGNED = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def is_filled(dtype: pa.DataType) -> bool:
    """Return whether columns of a type can be filled: numbers, dates and instants of up to 8 bytes, and booleans."""
    if pa.types.is_boolean(dtype):
        return True
    fixed = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_temporal(dtype)
    return fixed and dtype.bit_width in _UNSIGNED


def column_bytes(dtype: pa.DataType, rows: int) -> int:
    """Return what a column of a type may take, with a byte for each value that says whether it is null."""
    return rows * (max(8, int(dtype.bit_width)) // 8 + 1)


class FilledColumns:
    """Columns in which every value is null until it is given.

    Attributes:
        names: of the columns.
    """

    def __init__(self, types: Mapping[str, pa.DataType], rows: int) -> None:
        self.names = frozenset(types)
        self._types = types
        # Values are moved as bits: a NaN stays the one it was.
        self._values = {name: np.zeros(rows, _UNSIGNED[max(8, dtype.bit_width)]) for name, dtype in types.items()}
        self._given = np.zeros(rows if types else 0, np.bool_)
        self._nulls: dict[str, NDArray[np.bool_]] = {}
        self._lock = threading.Lock()

    def fill(self, values: pa.Table, positions: NDArray[np.int64]) -> None:
        """Give values, from any thread.

        Args:
            values: has these columns, in their types, and perhaps others.
            positions: of the rows in the columns; each is given once.
        """
        if not self._types:
            return
        self._given[positions] = True
        for name, column in self._values.items():
            first = 0
            for chunk in values.column(name).chunks:
                where = positions[first : first + len(chunk)]
                column[where] = _bits(chunk, column.dtype)
                if chunk.null_count:
                    self._nulls_of(name)[where] = chunk.is_null().to_numpy(zero_copy_only=False)
                first += len(chunk)

    def _nulls_of(self, name: str) -> NDArray[np.bool_]:
        with self._lock:
            if name not in self._nulls:
                self._nulls[name] = np.zeros(len(self._given), np.bool_)
            return self._nulls[name]

    def columns(self, first: int, rows: int) -> dict[str, pa.Array]:
        """Return some rows of each column, without a copy: what is given later would change them."""
        part = slice(first, first + rows)
        given = self._given[part]
        shared = _bitmap(given) if self._types else None
        made = {}
        for name, dtype in self._types.items():
            valid = _bitmap(given & ~self._nulls[name][part]) if name in self._nulls else shared
            values = self._values[name][part]
            if pa.types.is_boolean(dtype):
                values = np.packbits(values.view(np.bool_), bitorder="little")
            made[name] = pa.Array.from_buffers(dtype, rows, [valid, pa.py_buffer(values)])
        return made


def _bits(chunk: pa.Array, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return the values of an array as they lie in memory; what stands where one is null means nothing."""
    if pa.types.is_boolean(chunk.type):
        return np.asarray(chunk.fill_null(False).to_numpy(zero_copy_only=False), np.uint8)
    return np.frombuffer(chunk.buffers()[1], dtype, count=len(chunk), offset=chunk.offset * dtype.itemsize)


def _bitmap(valid: NDArray[np.bool_]) -> pa.Buffer | None:
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
