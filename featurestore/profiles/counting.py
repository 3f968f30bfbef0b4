"""A column -> the cell that each row falls into, and its number; and from these counts and moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.profiles.bins import FeatureBins, texts_of, values_of
from featurestore.profiles.moments import NONE, Moments, merge_moments, moments_of
from featurestore.profiles.vectors import measured

#: Rows that are worked on at a time: what is made of them stays in a core's cache.
PIECE = 1 << 15


@dataclass(frozen=True)
class Counted:
    """One feature's share of a profile.

    Attributes:
        counts: rows in each cell.
        infinite: infinities, of either sign.
        moments: of the finite numbers, in the order of :class:`~featurestore.profiles.moments.Moments`.
    """

    counts: NDArray[np.int64]
    infinite: int = 0
    moments: tuple[int, float, float, float, float, float] = NONE

    @classmethod
    def nulls(cls, one: FeatureBins, rows: int) -> Counted:
        """Return the share of rows that are all null."""
        counts = np.zeros(one.cells, np.int64)
        counts[-1] = rows
        return cls(counts)


class Placed(NamedTuple):
    """Rows of one feature.

    Attributes:
        cells: the cell of each row.
        numbers: of a numeric feature, each row's number, NaN where it is null; of others None.
    """

    cells: NDArray[np.intp]
    numbers: NDArray[np.float64] | None


def count(features: Sequence[FeatureBins], column: pa.Array | pa.ChunkedArray) -> list[Counted]:
    """Return what the features of one column count in it.

    Args:
        features: of one column; several only if they are taken from vectors.
        column: of the field's type.
    """
    parts = [
        [_counted(one, *placed) for one, placed in zip(features, place(features, piece), strict=True)]
        for piece in pieces(column)
    ]
    if not parts:
        return [Counted.nulls(one, 0) for one in features]
    return [sum_of(shares) for shares in zip(*parts, strict=True)]


def pieces(column: pa.Array | pa.ChunkedArray) -> Iterator[pa.Array]:
    """Yield the rows in order, in pieces of at most :data:`PIECE`."""
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        for start in range(0, len(chunk), PIECE):
            yield chunk.slice(start, PIECE)


def place(features: Sequence[FeatureBins], piece: pa.Array) -> list[Placed]:
    """Return the cell and the number of each row, for each of the features of one column."""
    present = pc.is_valid(piece).to_numpy(zero_copy_only=False) if piece.null_count else None
    first = features[0]
    if first.derivation is not None:
        derived = [one.derivation for one in features if one.derivation is not None]
        found = measured(piece, derived)
        return [_place_numbers(one, numbers, present) for one, numbers in zip(features, found, strict=True)]
    if first.kind == "numeric":
        return [_place_numbers(first, values_of(piece), present)]
    if first.kind == "categorical":
        return [Placed(_category_cells(first, piece, present), None)]
    return [Placed(np.zeros(len(piece), np.intp) if present is None else (~present).astype(np.intp), None)]


def sum_of(shares: Sequence[Counted]) -> Counted:
    """Return what several parts of the rows count together."""
    if len(shares) == 1:
        return shares[0]
    stacked = (np.array([share.moments[place] for share in shares])[:, None] for place in range(len(NONE)))
    merged = merge_moments(Moments(*stacked))
    return Counted(
        np.sum([share.counts for share in shares], axis=0),
        sum(share.infinite for share in shares),
        tuple(values[0] for values in merged),
    )


def numbers_counted(numbers: NDArray[np.float64] | None) -> tuple[int, tuple[int, float, float, float, float, float]]:
    """Return how many infinities there are, and the moments of the finite ones; NaN is left out."""
    if numbers is None:
        return 0, NONE
    finite = np.isfinite(numbers)
    if finite.all():
        return 0, moments_of(numbers)
    return int(np.isinf(numbers).sum()), moments_of(numbers[finite])


def _counted(one: FeatureBins, cells: NDArray[np.intp], numbers: NDArray[np.float64] | None) -> Counted:
    return Counted(np.bincount(cells, minlength=one.cells), *numbers_counted(numbers))


def _place_numbers(
    one: FeatureBins, values: NDArray[np.float64] | NDArray[np.int64], present: NDArray[np.bool_] | None
) -> Placed:
    """Place the values of the rows that are present; all are if that is None."""
    buckets = one.buckets
    numbers = values.astype(np.float64, copy=False)
    missing = np.isnan(numbers)
    if missing.any():
        cells = np.full(len(values), one.cells - 2, np.intp)
        cells[~missing] = buckets.cells(values[~missing])
    else:
        cells = buckets.cells(values if buckets.whole else numbers)
    if present is None:
        return Placed(cells, numbers)
    spread, all_numbers = np.full(len(present), one.cells - 1, np.intp), np.full(len(present), np.nan)
    spread[present], all_numbers[present] = cells, numbers
    return Placed(spread, all_numbers)


def _category_cells(one: FeatureBins, piece: pa.Array, present: NDArray[np.bool_] | None) -> NDArray[np.intp]:
    unknown = len(one.categories) + (1 if one.complete else 0)
    if pa.types.is_boolean(piece.type):
        # Two texts are looked up, and not one for each row.
        values, places = pa.array([False, True]), piece.cast(pa.uint8()).fill_null(0)
    elif pa.types.is_dictionary(piece.type):
        values, places = piece.dictionary, piece.indices.fill_null(0)
    else:
        values, places = piece, None
    found = pc.index_in(texts_of(values), value_set=one.known)
    known = _array(found.fill_null(-1)).astype(np.intp)
    cells = np.where(known < 0, unknown, np.minimum(known, len(one.categories)))
    if places is not None:
        # A dictionary without values stands beside rows that are all null.
        cells = cells[_array(places)] if len(cells) else np.zeros(len(piece), np.intp)
    if present is not None:
        cells[~present] = one.cells - 1
    return cells


def _array(column: pa.Array) -> NDArray[Any]:
    found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return found
