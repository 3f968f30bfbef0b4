"""The serving log: what was served, as Parquet files, written off the hot path.

Files in ``<folder>/<service>`` hold rows (:mod:`featurestore.serving.log_files`). ``<folder>/watermarks/<worker>.json``
says up to which ``served_at`` every row of that worker is on disk; a reader takes the lowest watermark of the living
workers.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from numpy.typing import NDArray

from featurestore.errors import ConfigError, ServingError
from featurestore.online.base import event_times
from featurestore.online.columns import to_column
from featurestore.serving.log_files import Writes, name_of
from featurestore.serving.lookup import LogEntry
from featurestore.serving.plan import ServicePlan
from featurestore.v1 import serving_pb2 as pb

WATERMARKS = "watermarks"
#: A watermark that was not written for so long belongs to a worker that died.
DEAD_AFTER_SECONDS = 60.0

#: Rows that are made at once, while no lookup is answered: a millisecond or two; and the pause after them.
_AT_ONCE_ROWS = 128
_REST_SECONDS = 0.004
#: What all pauses of one write may take, so that a write ends before the next one is due.
_RESTS_SECONDS = 0.3

#: Drops are told of no more often than this.
_REPORT_SECONDS = 10.0

#: The number of the online store's state that a row was read from: later states have greater ones. A name with "_"
#: before it is no feature's. Files of earlier releases do not have it.
SNAPSHOT = "_snapshot"
#: Of a row that was served from a local copy of the online store, as that was away: up to when the copy was complete.
#: Null of every other row, and such a row has no snapshot. Files of earlier releases do not have it.
COMPLETE_TO = "_complete_to"

_INSTANT = pa.timestamp("us", tz="UTC")
_logger = structlog.get_logger(__name__)


class ServingLog:
    """The log of one worker. Its thread writes; :meth:`offer` and :meth:`tick` never wait.

    Args:
        folder: the log's.
        now: the present instant, microseconds since 1970, by the clock that lookups go by.
        sample: the share of requests that is logged, chosen by a hash of the request's id.
        queue: requests that may wait to be written; more are dropped and counted.
        replay: whether instants are those of a rehearsal.

    Attributes:
        dropped: requests that were to be logged and are not, because the queue was full or a write failed.
        rows_written: entity rows.
        failed_writes: writes that the disk refused.

    Raises:
        ServingError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, *, now: int, sample: float = 1.0, queue: int = 10_000, replay: bool = False
    ) -> None:
        self.dropped = 0
        self.rows_written = 0
        self.failed_writes = 0
        self._folder = folder
        self._worker = uuid.uuid4().hex[:12]
        self._limit = int(sample * 2**64)
        self._capacity = queue
        self._replay = replay
        #: Of each version of a service, the number of the last write.
        self._numbers: dict[str, int] = {}
        self._reported = 0
        self._quiet_until = 0.0
        self._failing = False
        #: Entries, and between them instants: all entries before an instant were served before it, or at it.
        self._waiting: deque[LogEntry | int] = deque()
        self._wake = threading.Event()
        self._closing = False
        try:
            # Written before the first request, so that no reader takes an absent worker for a finished one.
            self._write_watermark(now, closed=False)
        except OSError as error:
            raise ServingError(
                f"The serving log {folder} cannot be written: {error.strerror}.",
                hint='Check "log_path" under [serving] in featurestore.toml, and who may write there.',
            ) from error
        self._watermark = now
        self._thread = threading.Thread(target=self._run, name="serving-log", daemon=True)
        self._thread.start()

    def offer(self, entry: LogEntry) -> None:
        """Take a lookup for the log, unless it is not sampled or too many wait."""
        if not self._limit or entry.row_count == 0 or not self._sampled(entry.request_id):
            return
        if len(self._waiting) >= self._capacity:
            self.dropped += 1
            return
        self._waiting.append(entry)
        if len(self._waiting) * 2 > self._capacity:
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Requests that wait to be written."""
        return len(self._waiting)

    def tick(self, now: int) -> None:
        """Say that every lookup served before ``now`` was offered; in the thread that offers, once a second or so."""
        self._waiting.append(now)
        self._wake.set()

    def close(self, now: int) -> None:
        """Write what waits, and that nothing more will come."""
        self._waiting.append(now)
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _sampled(self, request_id: str) -> bool:
        if self._limit >= 2**64:
            return True
        return place_of_request(request_id) < self._limit

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing
            self._flush()
            if closing:
                self._guarded(partial(self._write_watermark, self._watermark, closed=True))
                return

    def _flush(self) -> None:
        entries: dict[str, list[LogEntry]] = {}
        ticked = False
        while self._waiting:
            one = self._waiting.popleft()
            if isinstance(one, int):
                self._watermark = one
                ticked = True
            else:
                entries.setdefault(one.plan.id, []).append(one)
        for group in entries.values():
            if not self._guarded(partial(self._write, group)):
                self.dropped += len(group)
        if ticked:
            self._guarded(partial(self._write_watermark, self._watermark, closed=False))
        if self.dropped > self._reported and (self._closing or time.monotonic() >= self._quiet_until):
            self._quiet_until = time.monotonic() + _REPORT_SECONDS
            _logger.warning("serving log dropped requests", requests=self.dropped - self._reported, total=self.dropped)
            self._reported = self.dropped

    def _guarded(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:  # a full disk stops the log, never the lookups
            if not self._failing:  # told of once, not every second until somebody makes room
                _logger.error("serving log cannot be written", folder=str(self._folder), error=str(error))
            self._failing = True
            self.failed_writes += 1
            return False
        except Exception:  # a thread that ends would hold the watermark still, and lose all that follows
            _logger.exception("serving log cannot be written", folder=str(self._folder))
            self.failed_writes += 1
            return False
        return True

    def _write(self, entries: list[LogEntry]) -> None:
        plan = entries[0].plan
        folder = self._folder / plan.name
        folder.mkdir(parents=True, exist_ok=True)
        number = self._numbers[plan.id] = self._numbers.get(plan.id, 0) + 1
        name = name_of(Writes(self._worker, plan.id.partition("@")[2], number, number))
        part = folder / f".{name}"
        try:
            table = self._table(plan, entries)
            # Texts repeat; of numbers and ids a dictionary takes longer to look up than it saves.
            texts = [one.name for one in table.schema if pa.types.is_string(one.type) and one.name != "request_id"]
            pq.write_table(table, part, compression="zstd", use_dictionary=texts)
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)
        self.rows_written += sum(entry.row_count for entry in entries)
        if self._failing:
            _logger.info("serving log is written again", folder=str(self._folder))
            self._failing = False

    def _table(self, plan: ServicePlan, entries: list[LogEntry]) -> pa.Table:
        """Return the rows of lookups, made in portions: lookups go on between them, as each holds Python's lock."""
        portions = list(_portions(entries))
        rest = min(_REST_SECONDS, _RESTS_SECONDS / len(portions))
        made: list[pa.Table] = []
        for portion in portions:
            if made and not self._closing:
                time.sleep(rest)
            made.append(log_table(plan, portion, replay=self._replay))
        return pa.concat_tables(made)

    def _write_watermark(self, instant: int, *, closed: bool) -> None:
        write_watermark(self._folder, self._worker, instant, closed=closed)


def _portions(entries: list[LogEntry]) -> Iterator[list[LogEntry]]:
    """Yield entries, in order, that have so many rows together as are made at once."""
    portion: list[LogEntry] = []
    rows = 0
    for entry in entries:
        if portion and rows + entry.row_count > _AT_ONCE_ROWS:
            yield portion
            portion, rows = [], 0
        portion.append(entry)
        rows += entry.row_count
    yield portion


def place_of_request(request_id: str) -> int:
    """Return where a request lies in the space of 2^64 places; those below a share of it are logged."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest())


def write_watermark(folder: Path, worker: str, instant: int, *, closed: bool) -> None:
    """Write that every row which a worker served before an instant is on disk.

    Args:
        folder: the log's.
        worker: the worker.
        instant: microseconds since 1970.
        closed: whether it ends its log.
    """
    marks = folder / WATERMARKS
    marks.mkdir(parents=True, exist_ok=True)
    part = marks / f".{worker}.json"
    part.write_text(json.dumps({"watermark": instant, "closed": closed}), encoding="utf-8")
    part.replace(marks / f"{worker}.json")


class Watermark(NamedTuple):
    """What the file of one worker says.

    Attributes:
        file: the file.
        instant: every row served before it is on disk, microseconds since 1970; None if the file cannot be understood.
        closed: whether the worker has ended its log.
        dead: whether the worker ended without closing it.
    """

    file: Path
    instant: int | None
    closed: bool
    dead: bool


def read_watermarks(folder: Path) -> list[Watermark]:
    """Return the watermark of each worker of a log."""
    found = []
    for file in sorted((folder / WATERMARKS).glob("*.json")):
        if file.name.startswith("."):
            continue
        try:
            age = time.time() - file.stat().st_mtime
            content = file.read_bytes()
        except FileNotFoundError:  # cleared away between the listing and the reading
            continue
        instant, closed = _said(content)
        found.append(Watermark(file, instant, closed, not closed and age > DEAD_AFTER_SECONDS))
    return found


def _said(content: bytes) -> tuple[int | None, bool]:
    try:
        values = json.loads(content)
        return int(values["watermark"]), bool(values["closed"])
    except (ValueError, TypeError, KeyError):
        return None, False


def remove_finished_watermarks(folder: Path, *, living: bool = False) -> None:
    """Remove the watermarks of workers that closed their log or died, as a server does at its start.

    Args:
        folder: the log's.
        living: remove those of all others too, where no other server can be.

    Raises:
        ConfigError: they cannot be read or removed.
    """
    try:
        for mark in read_watermarks(folder):
            if living or mark.closed or mark.dead:
                mark.file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The serving log {folder} cannot be written: {error.strerror or error}.",
            hint='Check "log_path" under [serving] in featurestore.toml, and who may write there.',
        ) from error


def log_table(plan: ServicePlan, entries: list[LogEntry], *, replay: bool) -> pa.Table:
    """Return the log's rows of lookups that one plan answered, one for each entity row."""
    counts = np.array([entry.row_count for entry in entries])
    total = int(counts.sum())
    columns: dict[str, pa.Array] = {
        "request_id": pa.array(
            np.repeat(np.array([entry.request_id for entry in entries], object), counts), pa.string()
        ),
        "row": pa.array(np.concatenate([np.arange(count, dtype=np.int32) for count in counts])),
        "served_at": pa.array(np.repeat([entry.served_at for entry in entries], counts), pa.int64()).cast(_INSTANT),
        "service": pa.repeat(plan.id, total),
    }
    for name, dtype in plan.columns.items():
        values = [value for entry in entries for value in entry.columns[name]]
        columns[name] = plan.filled(name, to_column(values, dtype))
    for place, view in enumerate(plan.stored):
        rows = [row for entry in entries for row in entry.rows[place]]
        oldest = [entry.oldest[place] for entry in entries for _ in entry.rows[place]]
        # One that the store has not has no record, and the least order.
        records = [row.record if row.order >= least else None for row, least in zip(rows, oldest, strict=True)]
        found = np.array([row.record is not None for row in rows], np.bool_)
        if view.outputs:
            decoded = view.codec.decode(records)
            columns |= {one.name: one.filled(decoded[one.feature]) for one in view.outputs}
        columns[f"{view.name}__status"] = _statuses(found, np.array([one is not None for one in records], np.bool_))
        events = pa.array(event_times([row.order for row in rows]), mask=~found)
        columns[f"{view.name}__event_timestamp"] = events.cast(_INSTANT)
    for computed in plan.on_demand:
        for one in computed.codec.fields:
            columns[one.name] = pa.chunked_array([entry.computed[one.name] for entry in entries])
    columns["replay"] = pa.repeat(replay, total)
    stale = np.repeat(np.array([entry.complete_to is not None for entry in entries], np.bool_), counts)
    snapshots = np.repeat(np.array([entry.snapshot for entry in entries], np.int64), counts)
    complete = np.repeat(np.array([entry.complete_to or 0 for entry in entries], np.int64), counts)
    columns[SNAPSHOT] = pa.array(snapshots, mask=stale)  # the copy's is of another count
    columns[COMPLETE_TO] = pa.array(complete, mask=~stale).cast(_INSTANT)
    return pa.table(columns)


def _statuses(found: NDArray[np.bool_], present: NDArray[np.bool_]) -> pa.Array:
    """Return statuses of rows, by whether the store has them, and has them young enough."""
    missing = np.where(found, pb.ROW_STATUS_OUTSIDE_MAX_AGE, pb.ROW_STATUS_NOT_FOUND)
    return pa.array(np.where(present, pb.ROW_STATUS_PRESENT, missing).astype(np.int8))
