"""The newest rows of a serving log, in the order of the instants at which they were served."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.errors import ServingError
from featurestore.serving.log import read_watermarks
from featurestore.serving.log_files import log_files, service_folders, writes_of

#: A row of the log, by column.
Row = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How often a log that is followed is looked at.
POLL_SECONDS = 0.5
#: Rows are held back until no worker can still write an older one, but no longer than this: one may have died.
_PATIENCE_SECONDS = 5.0


class LogTail:
    """Reads the log of a service, or of all.

    Args:
        folder: the log's.
        service: one of :func:`logged_services`, or one version of it, ``churn@1``; all services when empty.
    """

    def __init__(self, folder: Path, service: str = "") -> None:
        self._folder = folder
        self._name, _, version = service.partition("@")
        self._version = service if version else ""
        self._seen: set[Path] = set()
        #: By worker and version of a service, the number of the last write that was read, and its newest instant.
        self._reached: dict[tuple[Path, str, str], tuple[int, datetime]] = {}

    def newest(self, count: int) -> list[Row]:
        """Return the last ``count`` rows, 1 or more, oldest first.

        Raises:
            ServingError: a file of the log is damaged.
        """
        found: list[tuple[datetime, int, Row]] = []
        number = 0
        for changed, file in self._files():
            # What a file holds was served before it was written, so once files are too old, no row is new enough. The
            # clock of a rehearsal is another one: there every file may have it.
            if len(found) == count and _EPOCH + timedelta(seconds=changed) < found[0][0] and not found[0][2]["replay"]:
                self._note(file, ())
                continue
            rows = self._rows(file, newest=count)
            self._note(file, rows)
            for row in rows:
                number += 1
                heapq.heappush(found, (row["served_at"], number, row))
                if len(found) > count:
                    heapq.heappop(found)
        return _in_order([row for _, _, row in found])

    def follow(self, wait: Callable[[float], object] = time.sleep) -> Iterator[Row]:
        """Yield rows that :meth:`newest` has not returned, as they are written, for ever.

        Args:
            wait: is called between two looks at the log.

        Raises:
            ServingError: a file of the log is damaged.
        """
        held: list[tuple[float, Row]] = []
        while True:
            # Read before the files, so that every row before it is among them.
            complete = self._complete()
            # By name: so the writes of each worker come in their order.
            files = sorted(file for _, file in self._files())
            now = time.monotonic()
            held += [(now, row) for file in files for row in self._fresh(file)]
            ready: list[Row] = []
            waiting: list[tuple[float, Row]] = []
            for since, row in held:
                if row["served_at"] < complete or now - since > _PATIENCE_SECONDS:
                    ready.append(row)
                else:
                    waiting.append((since, row))
            held = waiting
            yield from _in_order(ready)
            wait(POLL_SECONDS)

    def _complete(self) -> datetime:
        """Return the instant before which every row that was served is on disk."""
        at_work = [one.instant for one in read_watermarks(self._folder) if not one.closed and not one.dead]
        instants = [one for one in at_work if one is not None]
        return _EPOCH + timedelta(microseconds=min(instants)) if instants else datetime.max.replace(tzinfo=UTC)

    def _files(self) -> list[tuple[float, Path]]:
        """Return the files of the log and when they were written, the newest first."""
        found = []
        for folder in [self._folder / self._name] if self._name else service_folders(self._folder):
            for file in log_files(folder):
                try:
                    found.append((file.stat().st_mtime, file))
                except FileNotFoundError:  # cleared away between the listing and the reading
                    continue
        return sorted(found, reverse=True)

    def _fresh(self, file: Path) -> list[Row]:
        """Return the rows of a file that were not read before, and note that they are."""
        writes = writes_of(file.name)
        if writes is None:
            rows = [] if file in self._seen else self._rows(file)
        else:
            reached, newest = self._reached.get((file.parent, writes.worker, writes.version), (0, _EPOCH))
            rows = self._rows(file) if writes.last > reached else []
            if writes.first <= reached:  # merged from some that were read, and others: a worker serves in order
                rows = [row for row in rows if row["served_at"] > newest]
        self._note(file, rows)
        return rows

    def _note(self, file: Path, rows: Sequence[Row]) -> None:
        writes = writes_of(file.name)
        if writes is None:
            self._seen.add(file)
            return
        run = (file.parent, writes.worker, writes.version)
        reached, newest = self._reached.get(run, (0, _EPOCH))
        self._reached[run] = (max(reached, writes.last), max([newest, *(row["served_at"] for row in rows)]))

    def _rows(self, file: Path, *, newest: int | None = None) -> list[Row]:
        """Return the rows of a file, or only its newest ones: there may be very many in one."""
        try:
            table = pq.read_table(file, partitioning=None)
        except FileNotFoundError:
            return []
        except (OSError, pa.ArrowException) as error:
            raise ServingError(
                f"{file} in the serving log is damaged: it is not a Parquet file.", hint="Move it out of the log."
            ) from error
        if self._version:
            table = table.filter(pc.equal(table.column("service"), self._version))
        if newest is not None and table.num_rows > newest:
            table = table.take(pc.sort_indices(table, [("served_at", "ascending")])[-newest:])
        rows: list[Row] = table.to_pylist()
        return rows


def logged_services(folder: Path) -> list[str]:
    """Return the names of the services that a log has files of."""
    return [one.name for one in service_folders(folder)]


def _in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["served_at"], row["request_id"], row["row"]))
