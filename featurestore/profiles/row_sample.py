"""A bounded sample of rows, chosen by the hash of what names them: samples of parts merge to that of the whole.

The rows with the smallest hashes stay. So the choice depends on nothing but the rows: not on their order, nor on how
they are split over minutes and hosts; and below the bound every row of the stream is in the sample, which makes it one
that is drawn by chance with a known probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.errors import DataError, SchemaError
from featurestore.profiles.hashing import row_hashes
from featurestore.profiles.summary import check_layout

#: Rows that stay of a stream which has more; a classifier learns from that many what there is to learn.
CAPACITY = 2_000

_LAYOUT = b"1"
_KEY = b"featurestore.row_sample"
_CAPACITY_KEY = b"featurestore.capacity"
_BOUND_KEY = b"featurestore.bound"
_SPACE = 1 << 64
_HASH = "row_hash"


@dataclass(frozen=True)
class RowSample:
    """The rows of a stream whose hash lies under a bound.

    Rows of one hash are one row that was delivered more than once; they stay or go together.

    Attributes:
        table: the rows, ascending by hash, whose column ``row_hash`` comes first. The names of the rows are not kept.
        capacity: at most so many rows.
        bound: every row of the stream with a smaller hash is in the sample; 2^64 when that is all of them.
    """

    table: pa.Table
    capacity: int
    bound: int

    @property
    def share(self) -> float:
        """The probability with which a row came into the sample."""
        return self.bound / _SPACE

    def to_arrow(self) -> pa.Table:
        """Return the rows, with capacity and bound beside; :meth:`from_arrow` reads it back exactly."""
        sizes = {_CAPACITY_KEY: str(self.capacity).encode(), _BOUND_KEY: str(self.bound).encode()}
        return self.table.replace_schema_metadata({_KEY: _LAYOUT} | sizes)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> RowSample:
        """Return the sample that :meth:`to_arrow` came from.

        Raises:
            DataError: the table is no sample, or one of another layout.
        """
        check_layout(table, _KEY, _LAYOUT)
        sizes = [int(table.schema.metadata[key]) for key in (_CAPACITY_KEY, _BOUND_KEY)]
        return cls(table.replace_schema_metadata(None), *sizes)


def sample_rows(
    rows: pa.Table | pa.RecordBatch,
    columns: Sequence[str],
    *,
    names: Sequence[str] = ("request_id", "row"),
    capacity: int = CAPACITY,
) -> RowSample:
    """Return the sample of some rows; :func:`merge_samples` makes one of a stream's batches.

    Args:
        rows: has the columns, and those that name a row.
        columns: what is kept of a row; the caller decides about personal data. One that is missing is left out.
        names: the columns that together name a row, whose texts are hashed; no two rows share them.
        capacity: at most so many rows stay.

    Raises:
        SchemaError: a column that names rows is missing, or cannot be written as text.
    """
    try:
        hashes = row_hashes([rows.column(name) for name in names])
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"Rows cannot be sampled by {', '.join(names)}: {error}.", hint="Name columns that every row has, of texts."
        ) from error
    known = [name for name in columns if name in rows.schema.names]
    # Only the smallest are copied; one more than fits says where the bound lies.
    first = np.sort(np.argpartition(hashes, capacity)[: capacity + 1]) if len(hashes) > capacity + 1 else None
    bound = _SPACE
    if first is not None:
        bound = int(hashes[first].max())
        first = np.flatnonzero(hashes <= np.uint64(bound))
        hashes = hashes[first]
        bound = min(_SPACE, bound + 1)
    kept = pa.table({name: rows.column(name) for name in known} or {_HASH: pa.nulls(rows.num_rows)})
    kept = kept if first is None else kept.take(pa.array(first))
    columns_kept = {_HASH: pa.array(hashes)} | {name: kept.column(name) for name in known}
    return _cut(pa.table(columns_kept), capacity, bound)


def merge_samples(samples: Iterable[RowSample]) -> RowSample:
    """Return the sample of all rows of several: that of the whole.

    A column that only some of them have is null in the others' rows.

    Raises:
        DataError: there is no sample, their capacities differ, or a column has types that do not go together.
    """
    parts = list(samples)
    if len({part.capacity for part in parts}) != 1:
        raise DataError("Samples that merge have one capacity.", hint="Pass at least one, and take all alike.")
    bound = min(part.bound for part in parts)
    try:
        table = pa.concat_tables([part.table for part in parts], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"Samples of other columns cannot be merged: {error}.", hint="Cast them alike.") from error
    return _cut(table, parts[0].capacity, bound)


def _cut(table: pa.Table, capacity: int, bound: int) -> RowSample:
    """Return the sample of rows, all of which are known under the bound, in the order of their hashes."""
    hashes = table.column(_HASH).to_numpy()
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    if bound < _SPACE:
        ordered = ordered[: np.searchsorted(ordered, np.uint64(bound), side="left")]
    if len(ordered) > capacity:
        bound = int(ordered[capacity])
        ordered = ordered[: np.searchsorted(ordered, ordered[capacity], side="left")]
    order = _alike_in_order(table, order[: len(ordered)], ordered)
    return RowSample(table.take(pa.array(order)).combine_chunks(), capacity, bound)


def _alike_in_order(table: pa.Table, order: NDArray[np.intp], ordered: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the order in which rows of one hash, too, stand as their contents say and not as they came."""
    for hash_ in np.unique(ordered[1:][ordered[1:] == ordered[:-1]]):
        start, end = np.searchsorted(ordered, [hash_, hash_], side="left")[0], np.searchsorted(ordered, hash_, "right")
        rows = table.take(pa.array(order[start:end])).to_pylist()
        order[start:end] = [at for _, at in sorted(zip(map(repr, rows), order[start:end].tolist(), strict=True))]
    return order
