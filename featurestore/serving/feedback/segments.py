"""The files of predictions and outcomes: ``<folder>/<kind>/<model>/<worker>-<level>-<number>.parquet``.

Many calls share one write: whatever arrives while a file is being written goes into the next one. A file and its name
are on disk before a call is acknowledged. Of a busy model that makes many small files, so every 32 of one level are
merged into one of the next. A merge that dies in between leaves rows twice, which readers drop as they drop the repeats
of a caller: the same prediction twice is one.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from featurestore.errors import OfflineStoreError
from featurestore.serving.feedback.rows import Kind
from featurestore.serving.folder_lock import rewriting
from featurestore.storage.durable import sync, whole

#: Between the starts of two writes of a busy log; one call alone does not wait.
_INTERVAL_SECONDS = 0.05
#: Rows that may wait for the disk.
_MOST_WAITING = 1_000_000
#: Files of one level that become one of the next.
_FAN = 32
#: A file that would become larger than this is large enough.
_LARGE_BYTES = 64 << 20

_logger = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    kind: Kind
    model: str
    rows: pa.Table
    done: Future[int]


class FeedbackLog:
    """Writes predictions and outcomes, for all threads of one process. It makes its folders when it first needs them.

    Args:
        folder: where predictions and outcomes are.
        interval: seconds between the starts of two writes.
    """

    def __init__(self, folder: Path, *, interval: float = _INTERVAL_SECONDS) -> None:
        self._folder = folder
        self._interval = interval
        self._worker = uuid.uuid4().hex[:12]
        self._number = 0
        self._waiting: list[_Waiting] = []
        self._waiting_rows = 0
        self._changed = threading.Condition()
        self._closing = False
        self._merges = _Merges(self._worker)
        self._thread: threading.Thread | None = None

    def add(self, kind: Kind, model: str, rows: pa.Table) -> Future[int]:
        """Take rows, and give what will be their number once they are on disk.

        Args:
            kind: predictions or outcomes.
            model: the model's name, without a version.
            rows: in the columns of ``kind.stored``; their arrival is entered here.

        Raises:
            OfflineStoreError: too many rows wait for the disk; from the future: the disk refuses them.
        """
        done: Future[int] = Future()
        # A caller that goes away takes nothing back.
        done.set_running_or_notify_cancel()
        if not rows.num_rows:
            done.set_result(0)
            return done
        with self._changed:
            if self._closing:
                raise OfflineStoreError(f"The log of {kind.name} is closed.", hint="Send it again, to a server.")
            if self._waiting_rows + rows.num_rows > _MOST_WAITING and self._waiting:
                raise OfflineStoreError(
                    f"{self._waiting_rows:,} rows wait for the disk of {self._folder}, and no more may.",
                    hint="Send it again after a pause.",
                )
            self._waiting.append(_Waiting(kind, model, _arrived(rows), done))
            self._waiting_rows += rows.num_rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="feedback-log", daemon=True)
                self._thread.start()
            self._changed.notify()
        return done

    def close(self) -> None:
        """Write what waits, and take nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._merges.close()

    def _run(self) -> None:
        earliest = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing, timeout=max(0.0, earliest - time.monotonic()))
                group, self._waiting, self._waiting_rows = self._waiting, [], 0
                if not group:
                    return
            earliest = time.monotonic() + self._interval
            by_model: dict[tuple[str, str], list[_Waiting]] = {}
            for one in group:
                by_model.setdefault((one.kind.name, one.model), []).append(one)
            for together in by_model.values():
                self._commit(together)

    def _commit(self, together: Sequence[_Waiting]) -> None:
        first = together[0]
        folder = self._folder / first.kind.name / first.model
        self._number += 1
        file = folder / f"{self._worker}-0-{self._number:08d}.parquet"
        try:
            write_segment(file, pa.concat_tables([one.rows for one in together]))
        except Exception as error:  # noqa: BLE001 - whatever it is, callers wait for it, and the thread goes on
            _logger.error("feedback cannot be written", folder=str(folder), error=str(error))
            said = getattr(error, "strerror", None) or type(error).__name__
            for one in together:
                one.done.set_exception(
                    OfflineStoreError(
                        f"The {first.kind.name} of {first.model} cannot be written: {said}.",
                        hint="Nothing of the call is kept for certain; send it again after a pause.",
                    )
                )
            return
        for one in together:
            one.done.set_result(one.rows.num_rows)
        self._merges.written(folder)


def _arrived(rows: pa.Table) -> pa.Table:
    at = rows.schema.get_field_index("logged_at")
    instant = pa.scalar(time.time_ns() // 1000, pa.int64()).cast(rows.schema.field(at).type)
    return rows.set_column(at, rows.schema.field(at), pa.repeat(instant, rows.num_rows))


class _Merges:
    """Merges the small files of one worker, beside its writing."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._counts: dict[Path, int] = {}
        self._running: threading.Thread | None = None

    def written(self, folder: Path) -> None:
        """Say that a file more is in a folder."""
        self._counts[folder] = self._counts.get(folder, 0) + 1
        if self._counts[folder] < _FAN or (self._running is not None and self._running.is_alive()):
            return
        self._counts[folder] = 0
        self._running = threading.Thread(target=self._merge, args=(folder,), name="feedback-merge", daemon=True)
        self._running.start()

    def close(self) -> None:
        """Wait for the merge that runs."""
        if self._running is not None:
            self._running.join()

    def _merge(self, folder: Path) -> None:
        try:
            with rewriting(folder, wait=False) as mine:
                level = 0
                while mine and merge_level(folder, self._worker, level):
                    level += 1
        except (OSError, pa.ArrowException, OfflineStoreError) as error:  # the small files are still there, and as good
            _logger.warning("feedback cannot be merged", folder=str(folder), error=str(error))


def merge_level(folder: Path, worker: str, level: int) -> bool:
    """Merge the files of one level of a worker, if there are enough; return whether that was so.

    The caller holds :func:`~featurestore.serving.folder_lock.rewriting`.
    """
    files = sorted(folder.glob(f"{worker}-{level}-*.parquet"))
    if len(files) < _FAN or sum(one.stat().st_size for one in files) > _LARGE_BYTES:
        return False
    newest = max(one.stat().st_mtime_ns for one in files)
    last = files[-1].stem.rpartition("-")[2]
    target = folder / f"{worker}-{level + 1}-{last}.parquet"
    write_segment(target, pa.concat_tables([pq.read_table(one, partitioning=None) for one in files]))
    # Retention counts from when rows were written, not from when they were merged.
    os.utime(target, ns=(newest, newest))
    for one in files:
        one.unlink(missing_ok=True)
    return True


def write_segment(file: Path, rows: pa.Table) -> None:
    """Write a file that is whole, and on disk under its name, when this returns.

    Raises:
        OSError: the disk refuses; then no part of the file is left.
    """
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True, exist_ok=True)
        for parent in (file.parent.parent, file.parent.parent.parent):
            sync(parent)
    with whole(file) as part:
        pq.write_table(rows, part, compression="zstd")


def segments(folder: Path) -> list[Path]:
    """Return the files of one kind and model, in an order that is always the same."""
    return sorted(folder.glob("[!.]*.parquet"))
