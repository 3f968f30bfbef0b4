"""Whether two columns hold the same values: bit for bit, or as near as a tolerance allows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.errors import DataError
from featurestore.offline.intake.conform import is_list


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far apart two values may be and still count as the same; by default not at all.

    Attributes:
        relative: of floats and decimals, a share of the joined value's size.
        absolute: of floats and decimals, in their own unit. Either is enough: ``|a - b| <= absolute + relative * |b|``.
        time: of instants.

    Raises:
        DataError: one of them is negative or no number.
    """

    relative: float = 0.0
    absolute: float = 0.0
    time: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.absolute >= 0 and self.time >= timedelta(0)):
            raise DataError(f"{self} is no tolerance.", hint="Its parts are 0 or more; 0 forgives nothing.")

    @property
    def numbers(self) -> bool:
        """Whether any two different numbers may count as the same."""
        return self.relative > 0 or self.absolute > 0


EXACT = Tolerance()


def same_values(left: pa.ChunkedArray, right: pa.ChunkedArray, tolerance: Tolerance = EXACT) -> NDArray[np.bool_]:
    """Return, for each row, whether two columns hold the same.

    Null is null and NaN is NaN. Without a tolerance all else is compared bit for bit, so that 0.0 is not -0.0; with
    one, numbers and instants may differ by it, and an infinity is only itself. Lists and structs are the same when all
    that they hold is. What cannot be read as the right column's type is not the same.

    Args:
        left: what was served.
        right: what it should be; a relative tolerance is of its size.
        tolerance: what is forgiven.
    """
    if pa.types.is_struct(right.type) or is_list(right.type):
        return _same_nested(left.combine_chunks(), right.combine_chunks(), tolerance)
    nulls = pc.is_null(left).to_numpy(), pc.is_null(right).to_numpy()
    if left.type != right.type:
        try:
            left = left.cast(right.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            neither: NDArray[np.bool_] = nulls[0] & nulls[1]
            return neither
    equal = _near(left, right, tolerance)
    if equal is None and pa.types.is_floating(right.type):
        a, b = (column.fill_null(0.0).to_numpy() for column in (left, right))
        bits = np.dtype(f"i{a.dtype.itemsize}")
        equal = (a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))
    elif equal is None:
        equal = pc.fill_null(pc.equal(left, right), False).to_numpy()
    same: NDArray[np.bool_] = np.where(nulls[0] | nulls[1], nulls[0] & nulls[1], equal)
    return same


def _near(left: pa.ChunkedArray, right: pa.ChunkedArray, tolerance: Tolerance) -> NDArray[np.bool_] | None:
    """Return which values are within the tolerance; None where it says nothing of their type."""
    kind = right.type
    if pa.types.is_timestamp(kind) and tolerance.time:
        unit = {"s": 1_000_000, "ms": 1_000, "us": 1}.get(kind.unit, 1)
        most = tolerance.time // timedelta(microseconds=1)
        if kind.unit == "ns":
            most, unit = most * 1_000, 1
        a, b = (column.cast(pa.int64()).fill_null(0).to_numpy() for column in (left, right))
        # Unsigned, so that instants at both ends of the range are far apart and not near.
        apart = np.where(a >= b, a.view(np.uint64) - b.view(np.uint64), b.view(np.uint64) - a.view(np.uint64))
        near: NDArray[np.bool_] = apart <= np.uint64(most // unit)
        return near
    if not tolerance.numbers or not (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    a, b = (column.cast(pa.float64()).fill_null(0.0).to_numpy() for column in (left, right))
    with np.errstate(invalid="ignore", over="ignore"):
        close = np.abs(a - b) <= tolerance.absolute + tolerance.relative * np.abs(b)
    finite = np.isfinite(a) & np.isfinite(b)
    result: NDArray[np.bool_] = np.where(finite, close, (a == b) | (np.isnan(a) & np.isnan(b)))
    if pa.types.is_decimal(kind):  # digits that a float cannot hold still make two equal decimals equal
        result |= pc.fill_null(pc.equal(left, right), False).to_numpy()
    return result


def _same_nested(left: pa.Array, right: pa.Array, tolerance: Tolerance) -> NDArray[np.bool_]:
    present = [column.is_valid().to_numpy(zero_copy_only=False) for column in (left, right)]
    same: NDArray[np.bool_] = present[0] == present[1]
    if pa.types.is_struct(right.type):
        for name in (one.name for one in right.type):
            mine, others = (column.flatten()[column.type.get_field_index(name)] for column in (left, right))
            same &= same_values(pa.chunked_array([mine]), pa.chunked_array([others]), tolerance)
        return same
    # As plain lists: files keep lists of a fixed size so.
    plain = [column.cast(pa.list_(column.type.value_type)) for column in (left, right)]
    lengths = [pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False) for column in plain]
    same &= lengths[0] == lengths[1]
    # Only of rows of one length can the elements be compared one by one.
    mine, others = (pa.chunked_array([column.filter(pa.array(same)).flatten()]) for column in plain)
    rows = np.repeat(np.flatnonzero(same), lengths[1][same])
    same[rows[~same_values(mine, others, tolerance)]] = False
    return same
