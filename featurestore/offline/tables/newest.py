"""The newest row of each key among rows of a table: found by keys alone, then read chunk by chunk.

A narrow query over keys and instants finds the place of each key's newest row, in several passes over shares of the
keys where there are many, so that memory does not grow with the table. A place takes one bit; the features are read row
group by row group, each once, and of rows that count only. Chunks come in the order of the files, so whoever was
interrupted goes on after the rows that are done.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import FeatureView
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.offline.engine import identifier, literal, parquet_scan
from featurestore.offline.join import order as join
from featurestore.offline.tables.snapshots import DataFile, Snapshot

#: Rows of a chunk, and the bytes at which it ends earlier: what a transaction of the online store takes.
CHUNK_ROWS = 20_000
_CHUNK_BYTES = 32 * 2**20
#: Rows of a row group that are decoded at once.
_DECODED = 16_384
#: Rows whose keys one pass looks at: some 100 bytes each in DuckDB.
_PASS_ROWS = 4_000_000
#: A row's place: the number of its file, and its number in it.
_FILE_BITS = 40
_LOWEST = -(2**62)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which rows of a table to look at; instants are microseconds since 1970.

    Attributes:
        version: of the table.
        since: of rows that an earlier version had, only those with event times after ``seen_until``; None: all.
        seen_until: see ``since``.
        first: no earlier event time; None for any.
        until: no later one.
        oldest: rows with earlier event times count as expired; None: none do.
    """

    version: int
    until: int
    since: int | None = None
    seen_until: int | None = None
    first: int | None = None
    oldest: int | None = None


class Chunk(NamedTuple):
    """Some of the newest rows: without those of people who were erased, and how many there are with them.

    Columns: keys, features, event_timestamp, created_timestamp, row_number, load_order.
    """

    rows: pa.RecordBatch
    passed: int


@dataclass(frozen=True, kw_only=True)
class Newest:
    """What was found; ``read = newest + older + expired + keyless``.

    Attributes:
        read: rows that were looked at.
        newest: rows that are the newest of their key.
        older: rows of keys that have a newer one.
        expired: rows that are too old.
        keyless: rows whose key has a null or NaN among its parts.
    """

    read: int
    newest: int
    older: int
    expired: int
    keyless: int
    _chunks: Callable[[int], Generator[Chunk, None, None]] = field(repr=False)

    def chunks(self, skip: int = 0) -> Generator[Chunk, None, None]:
        """Yield the newest rows after the first ``skip`` ones, some ten thousand at a time, always in the same order.

        Raises:
            OfflineStoreError: a file cannot be read.
        """
        return self._chunks(skip)


#: Where nothing was ever ingested.
NOTHING = Newest(read=0, newest=0, older=0, expired=0, keyless=0, _chunks=lambda _: (_ for _ in ()))


def candidates(now: Snapshot, before: Snapshot | None, wanted: Wanted) -> tuple[DataFile, ...]:
    """Return the files that may have wanted rows; ``before`` is the snapshot of ``wanted.since``."""
    known = set() if before is None else {one.name for one in before.files}
    seen_until = _LOWEST if wanted.seen_until is None else wanted.seen_until
    return tuple(
        one
        for one in now.files
        if one.first <= wanted.until
        and (wanted.first is None or one.last >= wanted.first)
        and (one.name not in known or one.last > seen_until)
    )


def find_newest(
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    files: Sequence[DataFile],
    wanted: Wanted,
    loads: Sequence[str] | None,
) -> tuple[dict[str, int], list[NDArray[np.uint8]]]:
    """Return counts by the names of :class:`Newest`, and for each file a bit for each row: whether it is a newest one.

    Args:
        connection: of the engine, with the ledger of loads registered.
        view: whose rows.
        files: those to look into.
        wanted: which of their rows.
        loads: the loads that came after ``wanted.since``; None if all rows are wanted.
    """
    rows = _narrow(view, files, wanted, loads)
    nameless = " OR ".join(_is_no_key(f"k{place}", dtype) for place, dtype in enumerate(view.keys.values()))
    old = "false" if wanted.oldest is None else f"event < {wanted.oldest}"
    counting = f"SELECT count(*), count_if({old}), count_if(NOT ({old}) AND ({nameless})) FROM {rows}"
    ((read, expired, keyless),) = connection.sql(counting).fetchall()
    found = [np.zeros(-(-one.rows // 8), np.uint8) for one in files]
    newest = 0
    keys = ", ".join(f"k{place}" for place in range(len(view.keys)))
    passes = -(-(read - expired) // _PASS_ROWS)
    order = {
        "event": "event",
        "created": f"coalesce(created, {_LOWEST})",
        # A load that is not in the ledger yet is the newest.
        "load": f"coalesce(load_order, {-_LOWEST})",
        "row": ROW_NUMBER,
    }
    newer = "{" + ", ".join(f"'{name}': {value}" for name, value in order.items()) + "}"
    for share in range(passes):
        mine = f" AND hash({keys}) % {passes} = {share}" if passes > 1 else ""
        query = (
            f"SELECT arg_max(place, {newer}) AS place FROM {rows} WHERE NOT ({old}) AND NOT ({nameless}){mine} "
            f"GROUP BY {keys}"
        )
        for batch in connection.sql(query).to_arrow_reader():
            places = batch.column(0).to_numpy(zero_copy_only=False)
            newest += len(places)
            _set_bits(found, places)
    older = read - newest - expired - keyless
    return {"read": read, "newest": newest, "older": older, "expired": expired, "keyless": keyless}, found


def _narrow(view: FeatureView, files: Sequence[DataFile], wanted: Wanted, loads: Sequence[str] | None) -> str:
    """Return a subquery: keys as ``k0``, ``k1`` ..., the order of the row, and ``place``."""
    columns = [f"{_as_key(identifier(key), dtype)} AS k{place}" for place, (key, dtype) in enumerate(view.keys.items())]
    conditions = [f"{EVENT_TIMESTAMP} <= make_timestamptz({wanted.until}::BIGINT)"]
    if wanted.first is not None:
        conditions.append(f"{EVENT_TIMESTAMP} >= make_timestamptz({wanted.first}::BIGINT)")
    if loads is not None:
        arrived = f"r.{LOAD_ID} IN ({', '.join(map(literal, loads))})" if loads else "false"
        late = f"{EVENT_TIMESTAMP} > make_timestamptz({wanted.seen_until}::BIGINT)"
        conditions.append(f"({arrived} OR {late})" if wanted.seen_until is not None else arrived)
    return (
        f"(SELECT {', '.join(columns)}, epoch_us({EVENT_TIMESTAMP}) AS event, "
        f"epoch_us({CREATED_TIMESTAMP}) AS created, load_order, {ROW_NUMBER}, "
        f"(r.file_index::BIGINT << {_FILE_BITS}) | r.file_row_number AS place "
        f"FROM {parquet_scan([one.path for one in files])} r LEFT JOIN {join.LOADS} l ON {join.same_load(view)} "
        f"WHERE {' AND '.join(conditions)})"
    )


def _as_key(column: str, dtype: types.DType) -> str:
    # Minus zero is zero as a key, but DuckDB groups them apart.
    return f"r.{column} + 0" if dtype in (types.Float32, types.Float64) else f"r.{column}"


def _is_no_key(column: str, dtype: types.DType) -> str:
    absent = f"{column} IS NULL"
    return f"{absent} OR isnan({column})" if dtype in (types.Float32, types.Float64) else absent


def _set_bits(found: list[NDArray[np.uint8]], places: NDArray[np.int64]) -> None:
    places = np.sort(places)
    cuts = np.searchsorted(places, np.arange(len(found) + 1, dtype=np.int64) << _FILE_BITS)
    for number, (start, end) in enumerate(itertools.pairwise(cuts.tolist())):
        rows = places[start:end] - (number << _FILE_BITS)
        np.bitwise_or.at(found[number], rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))


def read_newest(
    view: FeatureView,
    files: Sequence[DataFile],
    found: Sequence[NDArray[np.uint8]],
    orders: dict[str, int],
    skip: int,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the rows of which the bit is set, but for the first ``skip``, as :class:`Chunk` has them.

    Args:
        view: whose rows.
        files: where they are.
        found: as :func:`find_newest` returns it.
        orders: the place of each load among the loads of the table.
        skip: how many to pass over.
    """
    schema = join.row_schema(view)
    known = pa.array(list(orders), pa.string())
    places = pa.array([*orders.values(), -_LOWEST], pa.int64())

    def finished(tables: list[pa.Table]) -> pa.RecordBatch:
        rows = pa.concat_tables(tables)
        which = pc.fill_null(pc.index_in(rows.column(LOAD_ID), known), len(orders))
        rows = rows.append_column("load_order", places.take(which)).select(schema.names).cast(schema)
        return rows.combine_chunks().to_batches()[0]

    def chunks() -> Iterator[pa.RecordBatch]:
        held: list[pa.Table] = []
        for table in _chosen(view, files, found, skip):
            at = 0
            while at < table.num_rows:
                have = sum(one.num_rows for one in held)
                taken = table.slice(at, CHUNK_ROWS - have)
                held.append(taken)
                at += taken.num_rows
                if have + taken.num_rows == CHUNK_ROWS or sum(one.nbytes for one in held) > _CHUNK_BYTES:
                    yield finished(held)
                    held = []
        if held:
            yield finished(held)

    yield from _ahead(chunks())


def _chosen(
    view: FeatureView, files: Sequence[DataFile], found: Sequence[NDArray[np.uint8]], skip: int
) -> Iterator[pa.Table]:
    """Yield rows of which the bit is set, from one piece of a row group each."""
    names = [*view.keys, *(one.name for one in view.schema), EVENT_TIMESTAMP, CREATED_TIMESTAMP, LOAD_ID, ROW_NUMBER]
    for file, bits in zip(files, found, strict=True):
        count = int(np.bitwise_count(bits).sum())
        if count <= skip:
            skip -= count
            continue
        with pq.ParquetFile(file.path, pre_buffer=True) as opened:
            start = 0
            for group in range(opened.metadata.num_row_groups):
                end = start + opened.metadata.row_group(group).num_rows
                mask = np.unpackbits(bits[start >> 3 : -(-end >> 3)], bitorder="little")[start & 7 :][: end - start]
                start = end
                count = int(mask.sum())
                if count <= skip:
                    skip -= count
                    continue
                at = 0
                for batch in opened.iter_batches(_DECODED, row_groups=[group], columns=names):
                    rows = np.flatnonzero(mask[at : at + batch.num_rows])
                    at += batch.num_rows
                    skip, rows = max(0, skip - len(rows)), rows[skip:]
                    if len(rows):
                        table = pa.Table.from_batches([batch])
                        yield table if len(rows) == batch.num_rows else table.take(pa.array(rows))


def _ahead(chunks: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """Yield chunks, each while the next one is read: decoding leaves the interpreter free."""
    with ThreadPoolExecutor(1, thread_name_prefix="featurestore-reading") as pool:
        coming = pool.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield chunk
