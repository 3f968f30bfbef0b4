"""What holds the rows of a stream, as SQL for DuckDB: frames in memory, and rows that have to be spooled first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import duckdb
import pyarrow as pa

from featurestore.errors import MonitorError
from featurestore.offline.engine import identifier
from featurestore.offline.sources.intervals import Interval

#: Names in DuckDB that no user's table has.
_FRAME, _SPOOL = "monitor_frame__", "monitor_spool__"


class Rows(ABC):
    """The rows of a stream, at one moment: :meth:`refresh` looks again.

    Attributes:
        ordered: whether a SELECT gives the rows in the same order each time, as sums of floats hang on it.
    """

    ordered = True

    @abstractmethod
    def refresh(self) -> None:
        """Look at what is there by now."""

    @abstractmethod
    def sql(self, cursor: duckdb.DuckDBPyConnection, interval: Interval) -> str:
        """Return a SELECT of all rows of an interval, and perhaps more; views that it needs are made.

        Args:
            cursor: where it will run.
            interval: the instants that matter, so that files without them stay closed.

        Raises:
            MonitorError: what holds the rows cannot be read.
        """

    def fault(self) -> MonitorError | None:
        """Return what is wrong with what was read last, if it can be told; DuckDB may not say in which file it was."""
        return None

    def undated_sql(self, cursor: duckdb.DuckDBPyConnection) -> str:
        """Return a SELECT of all rows that have no instant, or one before there were any; and perhaps more."""
        return self.sql(cursor, Interval(None, None))

    def schema(self, cursor: duckdb.DuckDBPyConnection) -> pa.Schema:
        """Return the columns."""
        return cursor.sql(f"SELECT * FROM ({self.sql(cursor, Interval(None, None))}) LIMIT 0").to_arrow_table().schema


class FrameRows(Rows):
    """An Arrow table, or an Arrow dataset: DuckDB asks it for the columns and the instants that it wants.

    Args:
        frame: the rows, or what gives them as they are by now.
    """

    def __init__(self, frame: Any | Callable[[], Any]) -> None:
        self._open = frame if callable(frame) else lambda: frame
        self._frame: Any = None

    def refresh(self) -> None:
        """Look at what is there by now."""
        self._frame = self._open()

    def sql(self, cursor: duckdb.DuckDBPyConnection, interval: Interval) -> str:  # noqa: ARG002 - it is asked for less
        """See :meth:`Rows.sql`."""
        if self._frame is None:
            self.refresh()
        cursor.register(_FRAME, self._frame)
        return f"SELECT * FROM {_FRAME}"


class SpooledRows(Rows):
    """Rows that cannot be asked for an interval cheaply, as CSV files and queries; or that can be read but once.

    They are read into a table of DuckDB's, which spills to the disk where memory ends and is gone with the stream.

    Args:
        opened: opens the rows of an interval; it may give more.
        time_column: the column of the instants.
        once: whether they can be read but once.
    """

    def __init__(
        self,
        opened: Callable[[Interval], AbstractContextManager[pa.RecordBatchReader]],
        time_column: str,
        *,
        once: bool = False,
    ) -> None:
        self._opened = opened
        self._time = time_column
        self._once = once
        self._held: Interval | None = None
        self._stale = False

    def refresh(self) -> None:
        """Look at what is there by now."""
        self._stale = not self._once

    def sql(self, cursor: duckdb.DuckDBPyConnection, interval: Interval) -> str:
        """See :meth:`Rows.sql`."""
        if self._held is None or self._stale or not _begins_within(self._held, interval):
            # To the end of what there is: the windows of a run follow each other.
            wanted = Interval(None if self._once else interval.start, None)
            with self._opened(wanted) as reader:
                order = ""
                if self._time in reader.schema.names:
                    order = f" ORDER BY {identifier(self._time)}, hash(monitor_row__)"
                cursor.register(_FRAME, reader)
                # In the order of time, so that a window is a few row groups of the table; and always the same one.
                cursor.execute(f"CREATE OR REPLACE TABLE {_SPOOL} AS SELECT * FROM {_FRAME} AS monitor_row__{order}")
                cursor.unregister(_FRAME)
            self._held, self._stale = wanted, False
        return f"SELECT * FROM {_SPOOL}"

    def undated_sql(self, cursor: duckdb.DuckDBPyConnection) -> str:
        """See :meth:`Rows.undated_sql`; what was read last has all rows without an instant."""
        held = Interval(None, None) if self._held is None or self._stale else self._held
        return self.sql(cursor, held)


def _begins_within(held: Interval, wanted: Interval) -> bool:
    return held.start is None or (wanted.start is not None and wanted.start >= held.start)
