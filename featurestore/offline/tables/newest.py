"""The newest row of each key among rows of a table: found by keys alone, then read in the order of the keys.

The first query is narrow: it carries keys and instants, and finds the place of each key's newest row. The second one
reads the features of these rows and sorts them by key, as a store that keeps keys in order takes such rows at a
fraction of the cost. What does not fit into ``offline.memory_limit`` waits on the disk in both. There is one row for a
key, so the order is total, and whoever was interrupted goes on after the rows that are done.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from featurestore import types
from featurestore.definitions import FeatureView
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.offline.engine import identifier, literal
from featurestore.offline.erasure.suppression import Suppressed
from featurestore.offline.join import order as join
from featurestore.offline.tables.snapshots import DataFile, Snapshot

#: Rows of a chunk, and about its bytes if rows are long: what a transaction of the online store takes.
CHUNK_ROWS = 20_000
_CHUNK_BYTES = 32 * 2**20
_NEWEST = "newest"
#: The table of a connection that has the keys to look for, where not all are wanted.
KEYS = "wanted_keys"
_LOWEST = -(2**62)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which rows of a table to look at; instants are microseconds since 1970.

    Attributes:
        version: of the table.
        until: no later event time.
        since: of rows that this earlier version had, only those with event times after ``seen_until``; None: all rows.
        seen_until: see ``since``.
        first: no earlier event time; None for any.
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


class Newest:
    """The newest row of each key; ``read = newest + older + expired + keyless``.

    Args:
        connection: of the engine, with the ledger of loads registered.
        view: whose rows.
        files: those to look into.
        wanted: which of their rows.
        loads: the loads that came after ``wanted.since``; None if all rows are wanted.
        some_keys: whether only keys count that are in the connection's table :data:`KEYS`.

    Attributes:
        read: rows that were looked at.
        newest: rows that are the newest of their key.
        older: rows of keys that have a newer one.
        expired: rows that are too old.
        keyless: rows whose key has a null or NaN among its parts.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        view: FeatureView,
        files: Sequence[DataFile],
        wanted: Wanted,
        loads: Sequence[str] | None,
        *,
        some_keys: bool = False,
    ) -> None:
        self._connection = connection
        self._view = view
        self._files = files
        self.read = self.newest = self.older = self.expired = self.keyless = 0
        if not files:
            return
        where = " AND ".join([_conditions(wanted, loads), *([_with_key(view)] if some_keys else [])])
        self._rows = join.rows_with_order(view, [one.path for one in files], place=True, where=where)
        event = f"epoch_us({EVENT_TIMESTAMP})"
        fresh = "true" if wanted.oldest is None else f"{event} >= {wanted.oldest}"
        keyed = " AND ".join(is_key(identifier(key), dtype) for key, dtype in view.keys.items())
        # Not count_if, which is null where there is no row at all.
        counting = (
            f"SELECT count(*), count(*) FILTER (NOT {fresh}), count(*) FILTER ({fresh} AND NOT ({keyed})) "
            f"FROM {self._rows}"
        )
        ((self.read, self.expired, self.keyless),) = connection.sql(counting).fetchall()
        self._kept = f"{fresh} AND {keyed}"
        order = {
            "event": event,
            "created": f"coalesce(epoch_us({CREATED_TIMESTAMP}), {_LOWEST})",
            # A load that is not in the ledger yet is the newest.
            "load": f"coalesce(load_order, {-_LOWEST})",
            "row": ROW_NUMBER,
        }
        newer = ", ".join(f"'{name}': {value}" for name, value in order.items())
        keys = ", ".join(grouped(identifier(key), dtype) for key, dtype in view.keys.items())
        connection.execute(
            f"CREATE TEMP TABLE {_NEWEST} AS SELECT arg_max({join.PLACE}, {{{newer}}}) AS {join.PLACE} "
            f"FROM {self._rows} WHERE {self._kept} GROUP BY {keys}"
        )
        ((self.newest,),) = connection.sql(f"SELECT count(*) FROM {_NEWEST}").fetchall()
        self.older = self.read - self.newest - self.expired - self.keyless

    def batches(self, skip: int = 0) -> Generator[pa.RecordBatch, None, None]:
        """Yield the newest rows after the first ``skip`` ones, with the columns of :class:`Chunk`."""
        if skip >= self.newest:
            return
        # Without the look-up in what was found where that is every row.
        which = f"{join.PLACE} IN (SELECT {join.PLACE} FROM {_NEWEST})" if self.older else self._kept
        keys = ", ".join(_stored_order(identifier(key), dtype) for key, dtype in self._view.keys.items())
        query = f"SELECT * EXCLUDE ({join.PLACE}) FROM {self._rows} WHERE {which} ORDER BY {keys}"
        schema = join.row_schema(self._view)

        def read() -> Iterator[pa.RecordBatch]:
            passed = skip
            for batch in self._connection.sql(query).to_arrow_reader(self._chunk_rows()):
                rows = batch.slice(passed)
                passed -= batch.num_rows - rows.num_rows
                if rows.num_rows:
                    yield rows.select(schema.names).cast(schema)

        yield from _ahead(read())

    def wanted_keys(self) -> Generator[pa.RecordBatch, None, None]:
        """Yield the keys that were looked for, of which some may have no row, where not all were."""
        schema = pa.schema([pa.field(key, dtype.to_arrow()) for key, dtype in self._view.keys.items()])
        for batch in self._connection.sql(f"SELECT * FROM {KEYS}").to_arrow_reader(CHUNK_ROWS):
            yield batch.select(schema.names).cast(schema)

    def _chunk_rows(self) -> int:
        fixed = sum(one.dtype.width for one in self._view.schema)
        # What has no fixed width tells of itself in the files only, where it is compressed.
        stored = 4 * sum(one.size for one in self._files) // sum(one.rows for one in self._files)
        return max(1, min(CHUNK_ROWS, _CHUNK_BYTES // max(fixed, stored, 1)))


def without(batch: pa.RecordBatch, erased: Suppressed | None) -> Chunk:
    """Return a batch without the rows of those who were erased."""
    kept = batch if erased is None else batch.filter(pc.invert(erased(batch)))
    return Chunk(kept, batch.num_rows)


def _conditions(wanted: Wanted, loads: Sequence[str] | None) -> str:
    # Compared as they are stored, so that DuckDB skips the row groups that lie outside.
    found = [f"r.{EVENT_TIMESTAMP} <= {_instant(wanted.until)}"]
    if wanted.first is not None:
        found.append(f"r.{EVENT_TIMESTAMP} >= {_instant(wanted.first)}")
    if loads is not None:
        arrived = f"r.{LOAD_ID} IN ({', '.join(map(literal, loads))})" if loads else "false"
        late = "" if wanted.seen_until is None else f" OR r.{EVENT_TIMESTAMP} > {_instant(wanted.seen_until)}"
        found.append(f"({arrived}{late})")
    return " AND ".join(found)


def _with_key(view: FeatureView) -> str:
    # Equal numbers are one key here, as zero and minus zero are in the table of keys; a null has none.
    same = " AND ".join(f"{KEYS}.{identifier(key)} = r.{identifier(key)}" for key in view.keys)
    return f"EXISTS (SELECT 1 FROM {KEYS} WHERE {same})"


def _instant(microseconds: int) -> str:
    return f"make_timestamptz({microseconds}::BIGINT)"


def is_key(column: str, dtype: types.DType) -> str:
    """Return a condition: a part of a key is neither null nor NaN."""
    there = f"{column} IS NOT NULL"
    return f"{there} AND NOT isnan({column})" if dtype in (types.Float32, types.Float64) else there


def grouped(column: str, dtype: types.DType) -> str:
    """Return a part of a key as it is to be told from others."""
    # Minus zero is zero as a key, but DuckDB groups them apart.
    return f"{column} + 0" if dtype in (types.Float32, types.Float64) else column


def _stored_order(column: str, dtype: types.DType) -> str:
    """Return by what to sort so that keys come in the order of their bytes, but for the sign of numbers."""
    if dtype is types.String:
        return f"strlen({column}), {column}"
    return f"octet_length({column}), {column}" if dtype is types.Bytes else column


def _ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """Yield batches, each while the next one is made: DuckDB leaves the interpreter free."""
    with ThreadPoolExecutor(1, thread_name_prefix="featurestore-reading") as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
