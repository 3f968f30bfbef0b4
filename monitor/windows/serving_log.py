"""The serving log as streams, one for each service version.

The log is a folder of Parquet files for each service, and a watermark for each server worker that says up to where its
rows are on disk. A window is closed, and counts, when every watermark has passed its end.
"""

from __future__ import annotations

import glob
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from featurestore.config import Config
from featurestore.errors import MonitorError
from featurestore.offline.sources.intervals import Interval
from featurestore.serving.log import read_watermarks
from featurestore.serving.log_files import counted
from featurestore.types import microseconds
from monitor.windows.base import Window
from monitor.windows.parquet_rows import ParquetRows
from monitor.windows.row_stream import RowStream

#: When a row was served.
SERVED_AT = "served_at"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ServiceLog(RowStream):
    """What the servers of a store have logged of one service version.

    Args:
        config: says where the log lies, and whether it is a rehearsal's.
        service: the version: ``flight_delay@1``.
    """

    def __init__(self, config: Config, service: str) -> None:
        folder = config.path(config.serving.log_path)
        self._logged = _rows_of(config, service.partition("@")[0], service)
        super().__init__(
            self._logged,
            config,
            name=service,
            time_column=SERVED_AT,
            order=("request_id", "row"),
            what="The serving log",
        )
        self._folder = folder

    def watermark(self, *, now: datetime) -> datetime | None:
        """Return the instant before which every served row is on disk; None where nothing can be said yet.

        While no worker is at work, that is ``now`` for a live log, and the end of the rehearsal for a replay's.

        Raises:
            MonitorError: the watermark of a worker at work cannot be understood.
        """
        return _watermark(self._folder, now, replay=bool(self._config.replay))

    def files(self, window: Window) -> list[str]:
        """Return the files that may have rows of a window."""
        return self._logged.files(Interval(window.start, window.end))

    def sample(self, rows: int, *, since: datetime | None = None, until: datetime | None = None) -> pa.Table:
        """Return up to so many logged rows, chosen by hash of request id and row: ever the same.

        The table has every column of the log, and no row where the log has none.

        Args:
            rows: at most so many.
            since: only rows that were served at this instant or later.
            until: only rows that were served before it.
        """
        self._rows.refresh()
        interval = Interval(since, until)
        served = "" if since is None else f" AND epoch_us({SERVED_AT}) >= {microseconds(since)}"
        served += "" if until is None else f" AND epoch_us({SERVED_AT}) < {microseconds(until)}"
        if not self.schema().names:
            return pa.table({})
        with self._cursor() as cursor:
            return cursor.sql(
                f"SELECT * FROM ({self._rows.sql(cursor, interval)}) WHERE true{served} "
                f"ORDER BY md5({_PLACE}) LIMIT {int(rows)}"
            ).to_arrow_table()


#: SQL for what names a row of the log.
_PLACE = "request_id || '/' || \"row\""


class ServingLog:
    """What a store's servers have logged, read.

    Every method raises :class:`~featurestore.errors.MonitorError` when a file of the log is damaged, and names it.

    Args:
        config: says where the log lies, and whether it is a rehearsal's.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = config.path(config.serving.log_path)
        self._streams: dict[str, ServiceLog] = {}

    def watermark(self, *, now: datetime) -> datetime | None:
        """Return the instant before which every served row is on disk; see :meth:`ServiceLog.watermark`."""
        return _watermark(self._folder, now, replay=bool(self._config.replay))

    def services(self, name: str) -> list[str]:
        """Return the versions of a service that have rows in the log: ``flight_delay@1``."""
        rows = _rows_of(self._config, name)
        rows.refresh()
        known = rows.kinds()
        if known is not None:
            return known
        # A file that was put together from others has several versions: only its rows say which.
        with RowStream(rows, self._config, name=name, time_column=SERVED_AT, what="The serving log") as stream:
            return stream.values_of("service")

    def stream(self, service: str) -> ServiceLog:
        """Return the log of a service version as a stream."""
        return self._streams.setdefault(service, ServiceLog(self._config, service))

    def select(self, name: str, *, since: datetime | None = None, until: datetime | None = None) -> str:
        """Return SQL for the rows of all versions of a service, and perhaps more than were served in a period."""
        rows = _rows_of(self._config, name)
        rows.refresh()
        return rows.scan(Interval(since, until))

    def sample(
        self, service: str, rows: int, *, since: datetime | None = None, until: datetime | None = None
    ) -> pa.Table:
        """Return up to ``rows`` logged rows of a service version; see :meth:`ServiceLog.sample`."""
        return self.stream(service).sample(rows, since=since, until=until)


def _rows_of(config: Config, name: str, service: str = "") -> ParquetRows:
    return ParquetRows(
        str(Path(glob.escape(str(config.path(config.serving.log_path)))) / name / "*.parquet"),
        SERVED_AT,
        damaged=_damaged,
        kind="service",
        text=service,
        counted=counted,
    )


def _damaged(file: Path) -> MonitorError:
    return MonitorError(
        f"{file} in the serving log is damaged: it cannot be read as Parquet.",
        hint="Move it out of the log; its rows are lost, all others count.",
    )


def _watermark(folder: Path, now: datetime, *, replay: bool) -> datetime | None:
    marks = read_watermarks(folder)
    at_work = [one for one in marks if not one.closed and not one.dead]
    for one in at_work:
        if one.instant is None:
            raise MonitorError(
                f"{one.file} is not a watermark of the serving log.",
                hint="A server that lives writes its own anew every second; remove the file if it stays like this.",
            )
    if at_work:
        return _EPOCH + timedelta(microseconds=min(one.instant for one in at_work if one.instant is not None))
    if not replay:
        return now
    closed = [one.instant for one in marks if one.closed and one.instant is not None]
    return _EPOCH + timedelta(microseconds=max(closed)) if closed else None
