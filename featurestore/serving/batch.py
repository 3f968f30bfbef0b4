"""Batches that are scored without a server, in the serving log: rows as a server's, and a worker's watermark.

A batch is logged as the requests that a client would have sent for it, of at most ``max_rows`` entity rows each: so a
sample is a share of its rows, and not all or nothing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import ServingError
from featurestore.serving.log import COMPLETE_TO, DEAD_AFTER_SECONDS, SNAPSHOT, place_of_request, write_watermark
from featurestore.serving.plan import ServicePlan

_INSTANT = pa.timestamp("us", tz="UTC")


def requests_of(request_id: str, rows: int, most: int) -> list[tuple[str, int, int]]:
    """Return the requests that a batch is logged as: id, first row, and the row after the last.

    A batch that fits into one request has its id; others have the batch's and a number: ``nightly-0``, ``nightly-1``.
    """
    if rows <= most:
        return [(request_id, 0, rows)] if rows else []
    return [
        (f"{request_id}-{number}", first, min(first + most, rows)) for number, first in enumerate(range(0, rows, most))
    ]


def sampled(requests: Sequence[tuple[str, int, int]], share: float) -> list[tuple[str, int, int]]:
    """Return those requests that are logged, by the rule of servers."""
    limit = int(share * 2**64)
    return [one for one in requests if place_of_request(one[0]) < limit]


class BatchLog:
    """A worker of the serving log that serves one batch; open before rows are read, so that no window is judged early.

    Args:
        folder: the log's.
        at: the instant of the batch, microseconds since 1970.
        replay: whether that is the clock of a rehearsal.

    Raises:
        ServingError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, at: int, replay: bool) -> None:
        self._folder = folder
        self._worker = uuid.uuid4().hex[:12]
        self._at = at
        self._replay = replay
        self._ended = threading.Event()
        self._mark(at, closed=False)
        self._thread = threading.Thread(target=self._stay_alive, name="batch-log", daemon=True)
        self._thread.start()

    def __enter__(self) -> BatchLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        # The rows at the instant itself are on disk too.
        self._mark(self._at + 1, closed=True)

    def write(
        self, plan: ServicePlan, typed: pa.Table, joined: pa.Table, requests: Sequence[tuple[str, int, int]]
    ) -> int:
        """Write the rows of requests as one file, and return how many.

        Args:
            plan: the service's version.
            typed: its keys and request fields in the declared types, a row for each entity row.
            joined: its features, statuses and event times, in the same order.
            requests: see :func:`requests_of`.

        Raises:
            ServingError: the disk refuses; nothing is logged.
        """
        if not requests:
            return 0
        folder = self._folder / plan.name
        name = f"{self._worker}-00000001.parquet"
        part = folder / f".{name}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tables = self._tables(plan, typed, joined, requests)
            first = next(tables)
            with pq.ParquetWriter(part, first.schema, compression="zstd") as writer:
                writer.write_table(first)
                for table in tables:
                    writer.write_table(table)
            part.replace(folder / name)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            part.unlink(missing_ok=True)
        return sum(end - start for _, start, end in requests)

    def _tables(
        self, plan: ServicePlan, typed: pa.Table, joined: pa.Table, requests: Sequence[tuple[str, int, int]]
    ) -> Iterator[pa.Table]:
        for request_id, start, end in requests:
            rows = end - start
            yield batch_table(
                plan,
                typed.slice(start, rows),
                joined.slice(start, rows),
                request_id=request_id,
                at=self._at,
                replay=self._replay,
            )

    def _stay_alive(self) -> None:
        while not self._ended.wait(DEAD_AFTER_SECONDS / 4):
            try:
                self._mark(self._at, closed=False)
            except ServingError:  # said when the rows are written, which needs the disk too
                continue

    def _mark(self, instant: int, *, closed: bool) -> None:
        try:
            write_watermark(self._folder, self._worker, instant, closed=closed)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> ServingError:
        return ServingError(
            f"The serving log {self._folder} cannot be written: {error.strerror}.",
            hint='Check "log_path" under [serving] in featurestore.toml, and who may write there; or score without a '
            "log: log=False (--no-log).",
        )


def batch_table(
    plan: ServicePlan, typed: pa.Table, joined: pa.Table, *, request_id: str, at: int, replay: bool
) -> pa.Table:
    """Return the log's rows of one request, with the columns of :func:`~featurestore.serving.log.log_table`.

    Args:
        plan: what answered.
        typed: see :meth:`BatchLog.write`.
        joined: see :meth:`BatchLog.write`.
        request_id: the request's.
        at: when it was answered, microseconds since 1970.
        replay: whether that is the clock of a rehearsal.
    """
    rows = typed.num_rows
    columns: dict[str, pa.Array] = {
        "request_id": pa.repeat(pa.scalar(request_id, pa.string()), rows),
        "row": pa.array(np.arange(rows, dtype=np.int32)),
        "served_at": pa.repeat(pa.scalar(at, pa.int64()), rows).cast(_INSTANT),
        "service": pa.repeat(pa.scalar(plan.id, pa.string()), rows),
    }
    columns |= {name: typed.column(name) for name in plan.columns}
    for view in plan.stored:
        columns |= {one.name: joined.column(one.name) for one in view.outputs}
        for name in (f"{view.name}__status", f"{view.name}__event_timestamp"):
            columns[name] = joined.column(name)
    for computed in plan.on_demand:
        columns |= {one.name: joined.column(one.name) for one in computed.codec.fields}
    columns["replay"] = pa.repeat(pa.scalar(replay), rows)
    columns[SNAPSHOT] = pa.nulls(rows, pa.int64())  # the rows are the offline store's
    columns[COMPLETE_TO] = pa.nulls(rows, _INSTANT)
    return pa.table(columns)
