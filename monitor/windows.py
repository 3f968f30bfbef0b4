"""The serving log -> windows -> profiles.

The log is a folder of Parquet files for each service, and a watermark for each server worker that says up to where its
rows are on disk. A window is closed, and counts, when every watermark has passed its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.config import Config
from featurestore.errors import MonitorError, OfflineStoreError
from featurestore.offline.engine import BATCH_ROWS, connect, identifier, literal
from featurestore.profiles import Bins, Profile, merge, profile
from featurestore.serving.log import read_watermarks
from featurestore.types import microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A closed window that has rows.

    Attributes:
        service: the service version.
        start: first instant; a multiple of the length since 1970, UTC.
        end: first instant after it.
        rows: how many were served.
        files: the log's files that hold them.
    """

    service: str
    start: datetime
    end: datetime
    rows: int
    files: tuple[str, ...]


class ServingLog:
    """What a store's servers have logged, read.

    Every method raises :class:`~featurestore.errors.MonitorError` when a file of the log is damaged, and names it.

    Args:
        config: says where the log lies, and whether it is a rehearsal's.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = config.path(config.serving.log_path)

    def watermark(self, *, now: datetime) -> datetime | None:
        """Return the instant before which every served row is on disk; None where nothing can be said yet.

        While no worker is at work, that is ``now`` for a live log, and the end of the rehearsal for a replay's.

        Raises:
            MonitorError: the watermark of a worker at work cannot be understood.
        """
        marks = read_watermarks(self._folder)
        at_work = [one for one in marks if not one.closed and not one.dead]
        for one in at_work:
            if one.instant is None:
                raise MonitorError(
                    f"{one.file} is not a watermark of the serving log.",
                    hint="A server that lives writes its own anew every second; remove the file if it stays like this.",
                )
        if at_work:
            return _EPOCH + timedelta(microseconds=min(one.instant for one in at_work if one.instant is not None))
        if not self._config.replay:
            return now
        closed = [one.instant for one in marks if one.closed and one.instant is not None]
        return _EPOCH + timedelta(microseconds=max(closed)) if closed else None

    def services(self, name: str) -> list[str]:
        """Return the versions of a service that have rows in the log: ``flight_delay@1``."""
        files = self._files(name)
        if not files:
            return []
        with self._connect() as connection:
            found = connection.sql(f"SELECT DISTINCT service FROM {_scan(files)} ORDER BY service")  # noqa: S608 - quoted
            return [service for (service,) in found.fetchall()]

    def closed_windows(
        self, service: str, length: timedelta, *, since: datetime | None, watermark: datetime
    ) -> tuple[list[Window], datetime]:
        """Return the closed windows that have rows, in order, and the end of the last closed window, rows or none.

        Args:
            service: the service version.
            length: of a window.
            since: start of the first window that counts; None for all.
            watermark: see :meth:`watermark`; read it before, so that its rows are among the files found here.
        """
        size = length // _MICROSECOND
        lateness = timedelta(seconds=self._config.monitor.lateness_seconds)
        until = microseconds(watermark - lateness) // size * size
        end = _EPOCH + until * _MICROSECOND
        first = 0 if since is None else microseconds(since)
        files = self._files(service.partition("@")[0])
        if not files or first >= until:
            return [], end
        with self._connect() as connection:
            found = connection.sql(
                f"SELECT epoch_us(served_at) // {size} AS number, filename, count(*) "  # noqa: S608 - quoted
                f"FROM {_scan(files)} WHERE service = {literal(service)} "
                f"AND epoch_us(served_at) >= {first} AND epoch_us(served_at) < {until} "
                "GROUP BY number, filename ORDER BY number, filename"
            ).fetchall()
        windows = []
        for number, group in groupby(found, key=itemgetter(0)):
            parts = list(group)
            windows.append(
                Window(
                    service=service,
                    start=_EPOCH + number * length,
                    end=_EPOCH + (number + 1) * length,
                    rows=sum(rows for _, _, rows in parts),
                    files=tuple(file for _, file, _ in parts),
                )
            )
        return windows, end

    def profile(self, window: Window, bins: Bins) -> Profile:
        """Return the profile of a window's rows, read as a stream.

        Values of a view that had no row to serve are null in the log, and count as nulls.

        Raises:
            SchemaError: a column cannot be read as the field's type.
        """
        files = list(window.files)
        with self._connect() as connection:
            known = connection.sql(f"SELECT * FROM {_scan(files)} LIMIT 0").columns  # noqa: S608 - quoted
            # A column that the log has not is left to the profile, which counts it as null; one column always is there.
            columns = ["served_at", *(name for name in bins.names if name in known)]
            reader = connection.sql(
                f"SELECT {', '.join(identifier(name) for name in columns)} FROM {_scan(files)} "  # noqa: S608 - quoted
                f"WHERE service = {literal(window.service)} AND epoch_us(served_at) >= {microseconds(window.start)} "
                f"AND epoch_us(served_at) < {microseconds(window.end)}"
            ).to_arrow_reader(BATCH_ROWS)
            return merge([Profile.empty(bins), *(profile(batch, bins) for batch in reader)])

    def sample(self, service: str, rows: int) -> pa.Table:
        """Return up to ``rows`` logged rows of a service version, chosen by hash of request id and row: ever the same.

        The table has every column of the log, and no row where the log has none.
        """
        files = self._files(service.partition("@")[0])
        if not files:
            return pa.table({})
        mine = f"WHERE service = {literal(service)}"
        with self._connect() as connection:
            # Only the files of this version: a column of one name may have another type in another version.
            found = connection.sql(f"SELECT DISTINCT filename FROM {_scan(files)} {mine} ORDER BY filename")  # noqa: S608 - quoted
            scan = _scan([file for (file,) in found.fetchall()] or files)
            return connection.sql(
                f"SELECT * EXCLUDE (filename) FROM {scan} {mine} "  # noqa: S608 - quoted
                f"ORDER BY md5(request_id || '/' || \"row\") LIMIT {int(rows)}"
            ).to_arrow_table()

    def _files(self, name: str) -> list[str]:
        # A leading dot marks a file that is still being written.
        return sorted(str(file) for file in (self._folder / name).glob("*.parquet") if not file.name.startswith("."))

    @contextmanager
    def _connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        spill = self._config.path(self._config.offline.path) / ".spill"
        try:
            with connect(self._config.offline, spill, "Reading the serving log") as connection:
                yield connection
        except OfflineStoreError as error:
            for file in sorted(self._folder.glob("*/*.parquet")):
                if not _is_parquet(file):
                    raise MonitorError(
                        f"{file} in the serving log is damaged: it is not a Parquet file.",
                        hint="Move it out of the log; its rows are lost, all others count.",
                    ) from error
            raise


def _is_parquet(file: Path) -> bool:
    try:
        pq.read_metadata(file)
    except (OSError, pa.ArrowException):
        return False
    return True


def _scan(files: list[str]) -> str:
    # By name: versions of one service have different columns, and share a folder.
    listed = ", ".join(literal(file) for file in files)
    return f"read_parquet([{listed}], union_by_name = true, filename = true, hive_partitioning = false)"
