"""Rows of a feature service -> a matrix of numbers, for statistics of several features at once."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.profiles import Bins, FeatureBins
from featurestore.profiles.bins import column_of, numbers_of, texts_of
from featurestore.profiles.summary import source_type


class Encoded(NamedTuple):
    """What :func:`encode` returns.

    Attributes:
        matrix: shape (rows, columns); NaN is a missing number.
        columns: what each column is: ``temp``, ``carrier="UA"``, ``vector[3]``.
    """

    matrix: NDArray[np.float64]
    columns: tuple[str, ...]


def encode(rows: pa.Table | pa.RecordBatch, bins: Bins) -> Encoded:
    """Return rows as numbers; all rows encoded by the same bins have the same columns.

    Numbers, dates and instants are one column each. A categorical feature has one column of 0 and 1 for each value
    with a cell of its own, for other values, for unseen ones and for null. An embedding has one column for each of its
    numbers. Of bytes, arrays and structs there is only whether they are null.

    Args:
        rows: has a column for each field; one that is missing counts as null in every row.
        bins: the frozen cells.

    Raises:
        SchemaError: a column cannot be read as the field's type.
    """
    parts: list[NDArray[np.float64]] = []
    names: list[str] = []
    for name, group in groupby(bins.features, lambda one: one.column):
        one = next(group)
        dtype = source_type(one)
        known = name in rows.schema.names
        column = column_of(rows, name, dtype) if known else pa.nulls(rows.num_rows, dtype.to_arrow())
        valid = np.asarray(pc.is_valid(column), np.bool_)
        if one.derivation is None and one.kind == "numeric":
            numbers = np.full((len(valid), 1), np.nan)
            numbers[valid, 0] = numbers_of(column)
            parts.append(numbers)
            names.append(one.name)
        elif one.derivation is None and one.kind == "categorical":
            parts.append(_one_hot(column, one))
            names += [f"{one.name}={label}" for label in one.labels]
        elif dtype.size:
            parts.append(_vectors(column, dtype.size, valid))
            names += [f"{name}[{position}]" for position in range(dtype.size)]
        else:
            parts.append((~valid[:, None]).astype(np.float64))
            names.append(f"{name}=null")
    matrix = np.concatenate(parts, axis=1) if parts else np.zeros((rows.num_rows, 0))
    return Encoded(matrix, tuple(names))


def _one_hot(column: pa.Array | pa.ChunkedArray, one: FeatureBins) -> NDArray[np.float64]:
    texts = texts_of(column)
    top = len(one.categories)
    known = pa.array([*one.categories, *one.others], pa.string())
    strange = top + 1 if one.complete else top
    found = pc.index_in(texts, value_set=known)
    places = np.asarray(pc.fill_null(found, -1), np.int64)
    places = np.where(places < 0, strange, np.minimum(places, top))
    places[np.asarray(pc.is_null(texts), np.bool_)] = one.cells - 1
    matrix = np.zeros((len(places), one.cells))
    matrix[np.arange(len(places)), places] = 1.0
    return matrix


def _vectors(column: pa.Array | pa.ChunkedArray, size: int, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    matrix = np.full((len(valid), size), np.nan)
    present = column.drop_null()
    lengths = np.asarray(pc.list_value_length(present), np.int64)
    # A vector of another length is none of this feature's, and counts as missing.
    fits = lengths == size
    numbers = pc.list_flatten(present.filter(pa.array(fits)))
    rows = np.flatnonzero(valid)[fits]
    matrix[rows] = np.asarray(numbers.cast(pa.float64()), np.float64).reshape(-1, size)
    return matrix
