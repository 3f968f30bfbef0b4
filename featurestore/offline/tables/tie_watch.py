"""Ties within a load: are there two rows of one key at one instant? Found while the rows pass by."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions.names import EVENT_TIMESTAMP

#: Rows whose hashes are held in memory, 8 bytes each; those of a larger load go to a file, run by run.
HELD_ROWS = 1 << 20
#: Parts of a run: hashes that begin with the same byte.
_PARTS = 256

Hashes = NDArray[np.uint64]


class TieWatch:
    """Compares the rows of a stream by 64-bit hashes of key and event time.

    "No ties" is certain, and "ties" is wrong about once in 2^64 / rows^2 streams, which costs the join a look and
    nothing else. Memory does not grow with the rows: the hashes lie in a file without a name, of which nothing is left
    when the process dies, and are compared part by part.

    Args:
        keys: the join keys, none of them null.
        folder: for that file; it is there by the time that more than ``rows`` rows were added.
        rows: whose hashes are held in memory.
    """

    def __init__(self, keys: Sequence[str], folder: Path, *, rows: int = HELD_ROWS) -> None:
        self._columns = [*keys, EVENT_TIMESTAMP]
        self._folder = folder
        self._rows = rows
        self._held: list[Hashes] = []
        self._count = 0
        self._file: IO[bytes] | None = None
        #: Where each part of each run begins in the file, in hashes; and after the last, where the run ends.
        self._runs: list[NDArray[np.int64]] = []

    def __enter__(self) -> TieWatch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at the next rows.

        Raises:
            OSError: the disk refuses.
        """
        if not batch.num_rows:
            return
        # Column by column: for a frame as a whole Polars waits for threads of its own, while the writer's are busy.
        hashes = np.zeros(batch.num_rows, np.uint64)
        for seed, name in enumerate(self._columns, 1):
            hashes += pl.Series(batch.column(name)).hash(seed).to_numpy()
        self._held.append(hashes)
        self._count += batch.num_rows
        if self._count > self._rows:
            self._put_aside()

    def unique(self) -> bool:
        """Return whether surely no two rows share key and event time.

        Raises:
            OSError: the disk refuses.
        """
        if self._file is None:
            return _distinct(self._held)
        if self._held:
            self._put_aside()
        # Counting them is all that this costs, and two shares are counted side by side.
        with ThreadPoolExecutor(2) as threads:
            return all(threads.map(self._share_distinct, self._shares()))

    def _put_aside(self) -> None:
        """Write what is held to the file as a run, part after part."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed with this
        hashes = np.concatenate(self._held)
        self._held, self._count = [], 0
        part = (hashes >> np.uint64(56)).astype(np.uint8)
        begin = self._runs[-1][-1] if self._runs else 0
        self._runs.append(begin + np.append(0, np.cumsum(np.bincount(part, minlength=_PARTS))))
        hashes[np.argsort(part, kind="stable")].tofile(self._file)  # of bytes, that is a count of each

    def _shares(self) -> Iterator[tuple[int, int]]:
        """Yield parts, from the first to before the last, that together have about as many hashes as a run."""
        step = max(1, _PARTS // len(self._runs))
        for first in range(0, _PARTS, step):
            yield first, min(first + step, _PARTS)

    def _share_distinct(self, share: tuple[int, int]) -> bool:
        first, last = share
        return _distinct([self._read(int(run[first]), int(run[last])) for run in self._runs])

    def _read(self, begin: int, end: int) -> Hashes:
        # By its descriptor, because threads do not share a place in it then.
        assert self._file is not None  # noqa: S101 - there are runs
        found = np.frombuffer(os.pread(self._file.fileno(), 8 * (end - begin), 8 * begin), np.uint64)
        if len(found) < end - begin:
            raise OSError(f"{8 * (end - begin - len(found))} bytes are gone")
        return found


def _distinct(hashes: Sequence[Hashes]) -> bool:
    together = pl.Series(np.concatenate(hashes) if hashes else np.zeros(0, np.uint64))
    return together.n_unique() == len(together)
