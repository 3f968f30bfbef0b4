"""Values that may not repeat: which rows of a load have one that an earlier row has, in the load or in the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import FeatureView, Field
from featurestore.definitions.names import EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.errors import OfflineStoreError
from featurestore.offline.sources.intervals import Interval
from featurestore.offline.tables.superseding import Superseding, in_rows
from featurestore.offline.tables.table import OfflineTable
from featurestore.storage.locks import alone
from featurestore.storage.parquet import parquet_file

#: Values as numbers that are equal where they are, of shape (1, values), or (2, values) where one is not enough.
Codes = NDArray[np.int64]


@contextmanager
def values_so_far(
    view: FeatureView, table: OfflineTable, load_id: str, given_again: Interval | None = None
) -> Iterator[Repeats | None]:
    """Yield what a load of the view must not repeat; None if it may repeat everything.

    Where a feature is unique within the table, other loads of the table wait until the block ends: two at once could
    not see each other's values.

    Args:
        view: whose rows come.
        table: theirs.
        load_id: the load: carried rows in whose place its own come are not repeated by these.
        given_again: the event times of which the load gives the stored rows once more: they do not repeat themselves.

    Raises:
        OfflineStoreError: the table cannot be read.
    """
    fields = [one for one in view.schema if one.unique_within is not None]
    within_table = [one for one in fields if one.unique_within == "table"]
    if not within_table:
        yield Repeats(fields) if fields else None
        return
    with alone(table.path):
        repeats = Repeats(fields)
        try:
            gone = table.superseded(load_id) if isinstance(table, Superseding) else {}
            for file in table.files() if table.exists() else ():
                columns = [
                    EVENT_TIMESTAMP,
                    *((LOAD_ID, ROW_NUMBER) if gone else ()),
                    *(one.name for one in within_table),
                ]
                with parquet_file(table.path / file.rpartition("/")[2]) as opened:
                    for batch in opened.iter_batches(columns=columns):
                        if gone:
                            batch = batch.filter(pc.invert(in_rows(batch, gone)))
                        if given_again is not None:
                            batch = batch.filter(pc.invert(given_again.holds(batch.column(EVENT_TIMESTAMP))))
                        repeats.add(batch, within_table)
        except (OSError, pa.ArrowException) as error:
            raise OfflineStoreError(
                f'The table {table.path.name} of feature view "{view.name}" cannot be read: {error}',
                hint="If a file of it is gone or damaged, bring it back from a backup.",
            ) from error
        yield repeats


class Repeats:
    """The values of a load so far, by feature that may not repeat them.

    Args:
        fields: those features.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = tuple(fields)
        self._seen = {one.name: _Seen() for one in fields}

    def add(self, rows: pa.RecordBatch, fields: Sequence[Field]) -> None:
        """Take the values of rows that are there already."""
        for one in fields:
            column = rows.column(one.name).cast(one.dtype.to_arrow())
            self._seen[one.name].add(_codes(column.drop_null(), one.dtype))

    def reasons(self, rows: pa.RecordBatch, candidates: pa.BooleanArray) -> pa.StringArray:
        """Return for each row why it is bad, or null, and take the values of the candidates that are good.

        A row that repeats values of several features is told of one of them.

        Args:
            rows: in order, after all rows of earlier calls.
            candidates: whether a row is good but for repeats. One that is not takes no value from those behind it.
        """
        columns = [rows.column(one.name) for one in self._fields]
        present = [column.is_valid().to_numpy(zero_copy_only=False) for column in columns]
        codes = []
        for one, column, there in zip(self._fields, columns, present, strict=True):
            known = _codes(column.drop_null(), one.dtype)
            spread = np.zeros((len(known), rows.num_rows), np.int64)
            spread[:, there] = known
            codes.append(spread)
        #: The first feature under which a row repeats a value, or none.
        found = np.full(rows.num_rows, -1)
        for place, one in enumerate(self._fields):
            repeated = self._seen[one.name].has(codes[place]) & present[place]
            found[repeated & (found < 0)] = place
        undecided = candidates.to_numpy(zero_copy_only=False) & (found < 0)
        self._decide(undecided, codes, present, found)
        good = undecided & (found < 0)
        for place, one in enumerate(self._fields):
            self._seen[one.name].add(codes[place][:, good & present[place]])
        said = np.array([f"{one.name} repeats within the {one.unique_within}" for one in self._fields] + [None], object)
        return pa.array(said[found], pa.string())

    def _decide(
        self,
        undecided: NDArray[np.bool_],
        codes: Sequence[Codes],
        present: Sequence[NDArray[np.bool_]],
        found: NDArray[np.int_],
    ) -> None:
        """Tell the rows of one batch that repeat each other apart: the first stays."""
        shared = np.zeros_like(undecided)
        for values, there in zip(codes, present, strict=True):
            rows = np.flatnonzero(undecided & there)
            _, which, counts = np.unique(values[0, rows], return_inverse=True, return_counts=True)
            shared[rows] |= counts[which] > 1
        # In order, and one by one: a row that falls under one feature frees its values of the others.
        taken: list[set[Any]] = [set() for _ in codes]
        for row in np.flatnonzero(shared).tolist():
            mine = [tuple(values[:, row]) if there[row] else None for values, there in zip(codes, present, strict=True)]
            for place, value in enumerate(mine):
                if value is not None and value in taken[place]:
                    found[row] = place
                    break
            else:
                for place, value in enumerate(mine):
                    taken[place].add(value)


class _Seen:
    """A set of codes, in sorted runs of which each is at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[Codes] = []

    def has(self, codes: Codes) -> NDArray[np.bool_]:
        found = np.zeros(codes.shape[1], np.bool_)
        for run in self._runs:
            at = np.searchsorted(run[0], codes[0])
            # Where the first numbers of two values are one by chance, the second ones tell them apart.
            for step in range(len(codes)):
                near = np.minimum(at + step, run.shape[1] - 1)
                found |= (run[:, near] == codes).all(axis=0)
        return found

    def add(self, codes: Codes) -> None:
        if not codes.size:
            return
        run = codes[:, np.argsort(codes[0])]
        while self._runs and self._runs[-1].shape[1] < 2 * run.shape[1]:
            both = np.concatenate([self._runs.pop(), run], axis=1)
            run = both[:, np.argsort(both[0], kind="stable")]
        self._runs.append(run)


def _codes(column: pa.Array, dtype: types.DType) -> Codes:
    """Return the code of each value; none is null."""
    if dtype in (types.Float32, types.Float64):
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0  # which makes 0.0 of -0.0
        numbers = np.where(np.isnan(numbers), np.nan, numbers)
        bits: Codes = numbers.view(np.int64)
        return bits[np.newaxis]
    if dtype.width:
        plain = column.cast(pa.int32()) if dtype is types.Date else column
        whole: Codes = plain.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return whole[np.newaxis]
    values = pl.Series(column if dtype in (types.String, types.Bytes) else column.cast(pa.string()))
    return np.stack([values.hash(seed).to_numpy().view(np.int64) for seed in (1, 2)])
