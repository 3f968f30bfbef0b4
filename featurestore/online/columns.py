"""Columns of Arrow <-> values as the wire holds them: days, microseconds, texts of decimals, ``Values`` messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import types
from featurestore.types.wire import from_values, to_values
from featurestore.v1 import serving_pb2 as pb


def plain_type(dtype: types.DType) -> pa.DataType:
    """Return the Arrow type of a column whose Python values are the wire's: int32 for days, int64 for microseconds."""
    if dtype.fields:
        return pa.struct([(name, plain_type(inner)) for name, inner in dtype.fields])
    if dtype.element is not None:
        return pa.list_(plain_type(dtype.element), dtype.size or -1)
    if dtype == types.Date:
        return pa.int32()
    return pa.int64() if dtype == types.Timestamp else dtype.to_arrow()


def to_column(values: Sequence[Any], dtype: types.DType) -> pa.Array:
    """Return an Arrow array of a type.

    Args:
        values: None where null; days for Date, microseconds for Timestamp, :class:`decimal.Decimal`, lists, dicts.
        dtype: the type.
    """
    return pa.array(values, plain_type(dtype)).cast(dtype.to_arrow())


def to_wire(value: Any, dtype: types.DType) -> Any:
    """Return what a list of ``FeatureRow`` or ``Values`` holds for a scalar of a column of :func:`plain_type`."""
    return format(value, "f") if dtype.precision else value


def from_wire(value: Any, dtype: types.DType) -> Any:
    """Return the inverse of :func:`to_wire`.

    Raises:
        ValueError: a text is no number of a Decimal type.
    """
    return types.exact_decimal(value, dtype) if dtype.precision else value


def delimited(column: pa.Array, dtype: types.DType) -> list[bytes]:
    """Return the bytes of each value of a type without a fixed width; none where it is null."""
    if dtype.wire == "nested":
        return [
            b"" if value is None else to_values(value, dtype, to_wire).SerializeToString(deterministic=True)
            for value in column.cast(plain_type(dtype)).to_pylist()
        ]
    if dtype.precision:
        return [b"" if value is None else to_wire(value, dtype).encode() for value in column.to_pylist()]
    found: list[bytes] = column.cast(pa.binary()).fill_null(b"").to_pylist()
    return found


def from_delimited(values: Sequence[bytes | None], dtype: types.DType) -> pa.Array:
    """Return the column that :func:`delimited` came from; null where a value is None."""
    if dtype.wire == "nested":
        messages = (None if value is None else pb.Values.FromString(value) for value in values)
        return to_column([None if one is None else from_values(one, dtype, from_wire) for one in messages], dtype)
    if dtype.precision:
        return to_column([None if value is None else from_wire(value.decode(), dtype) for value in values], dtype)
    return pa.array(values, pa.binary()).cast(dtype.to_arrow())


def numbers(column: pa.Array, dtype: types.DType) -> NDArray[np.generic]:
    """Return the values of a column of fixed width as its wire type; zero where null.

    They are of shape (rows,), and for an Embedding of shape (rows, size).
    """
    if dtype.size:
        vectors = np.zeros((len(column), dtype.size), "<f4")
        present = column.is_valid().to_numpy(zero_copy_only=False)
        vectors[present] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dtype.size)
        return vectors
    if dtype == types.Date:
        column = column.cast(pa.int32())
    elif dtype == types.Timestamp:
        column = column.cast(pa.int64())
    if column.null_count:
        column = column.fill_null(False if dtype == types.Bool else 0)
    values: NDArray[np.generic] = column.to_numpy(zero_copy_only=False)
    return values


def from_numbers(packed: NDArray[np.uint8], valid: NDArray[np.bool_], dtype: types.DType) -> pa.Array:
    """Return the column that :func:`numbers` came from.

    Args:
        packed: the bytes of each row, of shape (rows, width).
        valid: which rows are not null.
        dtype: the type, of fixed width.
    """
    packed = np.ascontiguousarray(packed)
    if dtype.size:
        return pa.FixedSizeListArray.from_arrays(
            pa.array(packed.view("<f4").reshape(-1)), type=dtype.to_arrow(), mask=pa.array(~valid)
        )
    return pa.array(packed.view(dtype.numpy)[:, 0], mask=~valid).cast(dtype.to_arrow())
