"""Made-up rows, on which to try what an on-demand view computes."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from polars.datatypes import DataTypeClass

#: No two of them are equal, and no figure over all of them is one of them.
_DIGITS = (1, 2, 4)


def samples(columns: Mapping[str, pl.DataType | DataTypeClass]) -> pl.DataFrame:
    """Return three rows that differ in every column whose type has three values."""
    return pl.DataFrame([_sample(dtype).alias(name) for name, dtype in columns.items()])


def _sample(dtype: pl.DataType | DataTypeClass) -> pl.Series:
    match dtype:
        case pl.List():
            return pl.Series([[value] for value in _sample(dtype.inner)], dtype=dtype)
        case pl.Array():
            return pl.Series([[digit] * dtype.size for digit in _DIGITS], dtype=dtype)
        case pl.Struct():
            return samples(dtype.to_schema()).to_struct()
        case pl.String() | pl.Binary():
            return pl.Series([str(digit) for digit in _DIGITS]).cast(dtype)
        case pl.Date():
            return pl.Series(_DIGITS, dtype=pl.Int32).cast(dtype)
        case _:
            # Not strictly: Decimal(2, 2) has no 1, and gives null.
            return pl.Series(_DIGITS, dtype=pl.Int64).cast(dtype, strict=False)
