"""Feature values of matched rows: read row group by row group, each once, and put into the order of the entity rows."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.definitions import Field
from featurestore.offline.intake.conform import conform, stored_type
from featurestore.offline.join.filled_columns import FilledColumns, column_bytes, is_filled
from featurestore.offline.join.order import FILE_BITS
from featurestore.offline.join.threads import in_threads
from featurestore.offline.tables.snapshots import DataFile
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file, read_metadata

#: Rows of a row group that are decoded at once.
_DECODED = 32_768
_POSITION = "position__"


class Gathered:
    """Values of entity rows, part by part; each part can be taken once.

    Columns of numbers are filled in place, if ``budget`` bytes hold them all. Other values are put in order when they
    are taken; until then, what of them does not fit into these bytes waits in Arrow files in ``folder``, which
    :meth:`close` removes.

    Attributes:
        part_rows: entity rows of a part.
    """

    def __init__(self, fields: Sequence[Field], rows: int, part_rows: int, *, budget: int, folder: Path) -> None:
        self._fields = fields
        self._rows = rows
        numbers = {one.name: one.dtype.to_arrow() for one in fields if is_filled(one.dtype.to_arrow())}
        fits = sum(column_bytes(dtype, rows) for dtype in numbers.values()) <= budget
        self._filled = FilledColumns(numbers if fits else {}, rows)
        self._waiting = [one.name for one in fields if one.name not in self._filled.names]
        self.part_rows = part_rows
        self._budget = budget
        self._lock = threading.Lock()
        self._folder = folder / f"join-{uuid.uuid4().hex}"
        self._held: dict[int, list[pa.Table]] = {}
        self._bytes = 0
        self._runs: list[tuple[Path, dict[int, int]]] = []

    def add(self, values: pa.Table) -> None:
        """Take values in, from any thread; their column ``position__`` says of which entity rows they are."""
        self._filled.fill(values, values.column(_POSITION).to_numpy())
        if self._waiting:
            with self._lock:
                self._add(values.select([*self._waiting, _POSITION]))

    def _add(self, values: pa.Table) -> None:
        parts = values.column(_POSITION).to_numpy() // self.part_rows
        order = np.argsort(parts, kind="stable")
        values = values.take(pa.array(order)).combine_chunks()
        self._bytes += values.nbytes
        numbers, starts = np.unique(parts[order], return_index=True)
        for number, start, end in zip(numbers.tolist(), starts, [*starts[1:], len(order)], strict=True):
            self._held.setdefault(number, []).append(values.slice(start, end - start))
        if self._bytes > self._budget:
            self._spill()

    def _spill(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{len(self._runs)}.arrow"
        numbers = sorted(self._held)
        schema = self._held[numbers[0]][0].schema
        with pa.ipc.new_file(path, schema) as writer:
            for number in numbers:
                (whole,) = pa.concat_tables(self._held.pop(number)).combine_chunks().to_batches()
                writer.write_batch(whole)
        self._runs.append((path, {number: place for place, number in enumerate(numbers)}))
        self._bytes = 0

    def take(self, part: int) -> pa.Table:
        """Return the values of a part's entity rows, in order and in the declared types; null where there are none."""
        first = part * self.part_rows
        rows = min(self.part_rows, self._rows - first)
        columns = self._filled.columns(first, rows) | self._waited(part, rows)
        return pa.table({one.name: columns[one.name] for one in self._fields})

    def _waited(self, part: int, rows: int) -> dict[str, pa.Array]:
        pieces = self._held.pop(part, [])
        for path, batches in self._runs:
            if part in batches:
                with pa.ipc.open_file(path) as reader:
                    pieces.append(pa.Table.from_batches([reader.get_batch(batches[part])]))
        fields = [one for one in self._fields if one.name in self._waiting]
        if not pieces:
            return {one.name: pa.nulls(rows, one.dtype.to_arrow()) for one in fields}
        found = pa.concat_tables(pieces).combine_chunks()
        del pieces
        where = np.full(rows, -1, np.int64)
        where[found.column(_POSITION).to_numpy() - part * self.part_rows] = np.arange(found.num_rows)
        indices = pa.array(where, mask=where < 0)
        columns = {}
        for one in fields:
            values = found.column(one.name).combine_chunks().take(indices)
            columns[one.name], _ = conform(values, one.dtype, one.name, "the table")
        return columns

    def close(self) -> None:
        """Remove what was put aside."""
        self._held.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def gather(
    gathered: Gathered, files: Sequence[DataFile], fields: Sequence[Field], places: NDArray[np.int64], *, threads: int
) -> None:
    """Read the values at ``places`` and hand them to ``gathered``, each with the position of its entity row.

    Row groups without a match are not read, and of the others no more than the columns asked for.

    Args:
        gathered: takes the values.
        files: in the order that places count by.
        fields: which columns.
        places: of each entity row, file and row; -1 for none.
        threads: how many read at once; 0 is as many as there are cores.

    Raises:
        OSError, pa.ArrowException: a file cannot be read, or the disk is full.
    """
    if not fields:
        return
    order = np.argsort(places, kind="stable")
    order = order[np.searchsorted(places[order], 0) :]
    names = [one.name for one in fields]
    types = pa.schema([(one.name, stored_type(one.dtype)) for one in fields])
    groups = _groups(files, places, order)
    in_threads(lambda *group: _read(gathered, names, types, *group), groups, threads)


def _groups(
    files: Sequence[DataFile], places: NDArray[np.int64], order: NDArray[np.int64]
) -> Iterator[tuple[StoragePath, pq.FileMetaData, int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each row group that has matches: file, footer, number, rows within it, ascending, and their positions."""
    sorted_places = places[order]
    cuts = np.searchsorted(sorted_places, np.arange(len(files) + 1) << FILE_BITS)
    for number, file in enumerate(files):
        start, end = cuts[number], cuts[number + 1]
        if start == end:
            continue
        footer = read_metadata(file.place)
        first = number << FILE_BITS
        for group in range(footer.num_row_groups):
            after = first + footer.row_group(group).num_rows
            until = start + int(np.searchsorted(sorted_places[start:end], after))
            if until > start:
                yield file.place, footer, group, sorted_places[start:until] - first, order[start:until]
            first, start = after, until


def _read(
    gathered: Gathered,
    names: list[str],
    types: pa.Schema,
    path: StoragePath,
    footer: pq.FileMetaData,
    group: int,
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> None:
    """Hand over the values of a row group's matches: a part's worth at a time, however many entity rows one matches."""
    taken: list[pa.RecordBatch] = []
    done = handed = 0

    def hand_over(until: int) -> None:
        # Files that compaction or another program wrote may name the parts of nested types otherwise.
        values = pa.Table.from_batches(taken).cast(types)
        gathered.add(values.append_column(_POSITION, pa.array(positions[handed:until])))
        taken.clear()

    with parquet_file(path, metadata=footer, pre_buffer=True) as file:
        for batch in file.iter_batches(_DECODED, row_groups=[group], columns=names, use_threads=False):
            start, end = np.searchsorted(rows, (done, done + batch.num_rows)).tolist()
            for first in range(start, end, gathered.part_rows):
                last = min(first + gathered.part_rows, end)
                taken.append(batch.select(names).take(pa.array(rows[first:last] - done)))
                if last - handed >= gathered.part_rows:
                    hand_over(last)
                    handed = last
            done += batch.num_rows
    if taken:
        hand_over(len(positions))
