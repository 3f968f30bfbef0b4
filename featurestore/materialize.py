"""Offline to online: the newest row of each key, encoded once as it will be served."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import FeatureView, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, ROW_NUMBER
from featurestore.online.base import OnlineStore, Row, order_prefix
from featurestore.online.keys import KeyLayout
from featurestore.online.rowcodec import RowCodec

LOAD_ORDER = "load_order"
#: Rows of one write transaction: it bounds memory, and how long another writer waits.
_CHUNK_ROWS = 20_000

Progress = Callable[[int], None]


class OfflineReader(Protocol):
    """What the offline store gives to materialization and to rehearsals.

    Batches have the join keys, the features, ``event_timestamp``, ``created_timestamp`` (nullable), ``row_number`` and
    ``load_order``, in their declared types.
    """

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:
        """Return of each key the newest row with event time up to ``until``."""
        ...

    def rows_by_event_time(self, view: FeatureView, *, after: datetime | None) -> pa.RecordBatchReader:
        """Return all rows with event time after ``after``, oldest first."""
        ...


@dataclass(frozen=True, kw_only=True)
class MaterializeReport:
    """What became of a view's rows: ``read = written + older + expired + rejected``.

    Attributes:
        view: the view's name.
        read: newest rows of their keys, up to now.
        written: rows that are now served.
        older: rows of keys that have one as new, or newer, online.
        expired: rows past the view's TTL.
        rejected: rows whose key has a null part, which no request can ask for.
        seconds: how long it took.
        also: what became of the rows of other live versions of the view, which have rows of their own.
    """

    view: str
    read: int
    written: int
    older: int
    expired: int
    rejected: int
    seconds: float
    also: tuple[MaterializeReport, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.view}: {self.written:,} of {self.read:,} rows written"]
        for count, what in (
            (self.older, "no newer than what was online"),
            (self.expired, "past the TTL"),
            (self.rejected, "with a null in the key"),
        ):
            if count:
                parts.append(f"{count:,} {what}")
        return "; ".join([", ".join(parts), *(f"also {other}" for other in self.also)])


class EncodedBatch(NamedTuple):
    """Rows ready to be stored: their event times, and each row, None where its key has a null part."""

    events: NDArray[np.int64]
    rows: list[Row | None]


class RowEncoder:
    """Turns batches of the offline store into rows of the online store."""

    def __init__(self, view: FeatureView) -> None:
        self._keys = KeyLayout(view.keys)
        self._codec = RowCodec(view.schema)

    def __call__(self, batch: pa.RecordBatch) -> EncodedBatch:
        """Encode one batch."""
        events = _integers(batch[EVENT_TIMESTAMP])
        created = batch[CREATED_TIMESTAMP]
        prefix = order_prefix(
            events,
            _integers(created.fill_null(0)),
            created.is_null().to_numpy(zero_copy_only=False),
            _integers(batch[LOAD_ORDER]),
            _integers(batch[ROW_NUMBER]),
        )
        keys = self._keys.encode_batch(batch)
        values = self._codec.encode(batch, prefix=prefix)
        return EncodedBatch(
            events, [None if key is None else (key, value) for key, value in zip(keys, values, strict=True)]
        )


def _integers(column: pa.Array) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


def encoded_batches(view: FeatureView, reader: pa.RecordBatchReader) -> Generator[EncodedBatch, None, None]:
    """Encode what a reader gives, in pieces that one transaction may write."""
    encode = RowEncoder(view)
    with reader:
        for batch in reader:
            for first in range(0, batch.num_rows, _CHUNK_ROWS):
                yield encode(batch.slice(first, _CHUNK_ROWS))


def materialize(
    view: FeatureView,
    offline: OfflineReader,
    online: OnlineStore,
    *,
    now: datetime,
    progress: Progress | None = None,
) -> MaterializeReport:
    """Write the newest row of each key, with event time up to ``now``, into the online store.

    Args:
        view: what to materialize; a view that was never ingested gives a report of zeros.
        offline: where rows come from.
        online: where they go.
        now: the instant up to which rows are read, and against which the TTL is held.
        progress: called with the rows of each piece.

    Raises:
        OfflineStoreError: the rows cannot be read.
        OnlineStoreError: they cannot be written.
    """
    started = time.perf_counter()
    counts: Counter[str] = Counter()
    for kept in _alive(view, offline, counts, now, progress):
        done = online.put_newest(storage_id(view), kept)
        counts.update(written=done.written, older=done.older)
    return _report(view, counts, started)


def rebuild(
    view: FeatureView,
    offline: OfflineReader,
    online: OnlineStore,
    *,
    now: datetime,
    progress: Progress | None = None,
) -> MaterializeReport:
    """Put the newest row of each key in the place of all rows of a view that are online; see :func:`materialize`.

    For a table whose rows were taken back: the rows that are online may be newer than all that is left. Readers see the
    old rows or the new ones, whole; and as no other writer is let in between reading and writing, no row is lost.
    """
    started = time.perf_counter()
    counts: Counter[str] = Counter()
    online.replace(storage_id(view), (row for kept in _alive(view, offline, counts, now, progress) for row in kept))
    counts["written"] = counts["read"] - counts["expired"] - counts["rejected"]
    return _report(view, counts, started)


def _alive(
    view: FeatureView, offline: OfflineReader, counts: Counter[str], now: datetime, progress: Progress | None
) -> Iterator[list[Row]]:
    """Yield the rows that may be served, in pieces, and count those that may not."""
    oldest = None if view.ttl is None else types.microseconds(now - view.ttl)
    for events, rows in encoded_batches(view, offline.newest_rows(view, until=now)):
        alive = [True] * len(rows) if oldest is None else (events >= oldest).tolist()
        kept = [row for row, keep in zip(rows, alive, strict=True) if keep and row is not None]
        nameless = sum(row is None for row in rows)
        counts.update(read=len(rows), rejected=nameless, expired=len(rows) - nameless - len(kept))
        yield kept
        if progress is not None:
            progress(len(rows))


def _report(view: FeatureView, counts: Counter[str], started: float) -> MaterializeReport:
    return MaterializeReport(
        view=view.name,
        read=counts["read"],
        written=counts["written"],
        older=counts["older"],
        expired=counts["expired"],
        rejected=counts["rejected"],
        seconds=time.perf_counter() - started,
    )
