"""Ties within a load: are there two rows of one key at one instant? Found while the rows pass by."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions.names import EVENT_TIMESTAMP

#: Rows that are watched, 8 bytes each; of a larger load the file is asked, share by share.
WATCHED_ROWS = 1 << 22


class TieWatch:
    """Compares the rows of a stream by 64-bit hashes of key and event time.

    Args:
        keys: the join keys, none of them null.
        rows: how many rows are watched.
    """

    def __init__(self, keys: Sequence[str], *, rows: int = WATCHED_ROWS) -> None:
        self._columns = [*keys, EVENT_TIMESTAMP]
        self._left = rows
        self._hashes: list[NDArray[np.uint64]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at the next rows."""
        self._left -= batch.num_rows
        if self._left < 0:
            self._hashes.clear()
        elif batch.num_rows:
            frame = pl.DataFrame(pa.table({name: batch.column(name) for name in self._columns}))
            self._hashes.append(frame.hash_rows().to_numpy())

    def unique(self) -> bool | None:
        """Return whether surely no two rows share key and event time; None if there were too many to watch."""
        if self._left < 0:
            return None
        if not self._hashes:
            return True
        hashes = np.concatenate(self._hashes)
        self._hashes.clear()
        low = hashes < np.uint64(1 << 63)
        # Sorting is all that this costs, and two halves are sorted side by side.
        with ThreadPoolExecutor(2) as threads:
            return all(threads.map(_distinct, (hashes[low], hashes[~low])))


def _distinct(values: NDArray[np.uint64]) -> bool:
    values.sort()
    return not bool((values[1:] == values[:-1]).any())
