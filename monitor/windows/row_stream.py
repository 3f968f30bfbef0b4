"""A stream of rows, whatever holds them: counted and read by DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.config import Config
from featurestore.errors import FeatureStoreError, MonitorError, SchemaError, TimestampError, closest
from featurestore.offline.engine import BATCH_ROWS, connect, explain, identifier
from featurestore.offline.places import spill_folder
from featurestore.offline.sources.intervals import INSTANTS, Interval, later
from featurestore.queries import check_condition
from featurestore.types import microseconds
from monitor.windows import cutting
from monitor.windows.base import FIRST_INSTANT, LAST_INSTANT, MICROSECOND, Closed, Cut, Position, Window
from monitor.windows.rows import Rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Lengths that a window by time waits for rows, unless the cut says something else.
_PATIENCE = 24


@dataclass(frozen=True)
class _Seen:
    """The instants of an interval: SQL for the rows, and for an instant as microseconds since 1970."""

    rows: str
    instant: str


class RowStream:
    """A stream of rows; see :class:`~monitor.windows.base.Stream`.

    Args:
        rows: what holds them.
        config: memory, threads and spill folder.
        name: the subject.
        time_column: the column of the instants: timestamps with a zone, or dates.
        clock: of the watermark: ``"newest"``, the newest instant that is there but never one after the present; or
            ``"now"``, where rows are known to arrive at once. By the first a stream that has stopped closes no more
            windows; by the second its windows are empty.
        lateness: how much later than the watermark says rows may come; None for the monitor's setting.
        order: columns that order the rows of one instant, for windows by count; none for all the rows' values.
        what: what the user would call it, to begin messages.
    """

    def __init__(
        self,
        rows: Rows,
        config: Config,
        *,
        name: str,
        time_column: str,
        clock: Literal["newest", "now"] = "newest",
        lateness: timedelta | None = None,
        order: Sequence[str] = (),
        what: str = "",
    ) -> None:
        self.name = name
        self.time_column = time_column
        self._rows = rows
        self._config = config
        self._clock = clock
        self._lateness = timedelta(seconds=config.monitor.lateness_seconds) if lateness is None else lateness
        self._order = order
        self._what = what or f'Stream "{name}"'
        self._opened = ExitStack()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._looked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what the stream holds in memory and on disk."""
        self._connection = None
        self._opened.close()

    def watermark(self, *, now: datetime) -> datetime | None:
        """Return the instant before which every row is there; None where nothing can be said yet."""
        if self._clock == "now":
            return now
        self._rows.refresh()
        self._looked = True
        with self._cursor() as cursor:
            seen = self._seen(cursor, Interval(FIRST_INSTANT, later(now, MICROSECOND)))
            (newest,) = cursor.sql(f"SELECT max({seen.instant}) FROM {seen.rows}").fetchall()[0]
        return None if newest is None else _EPOCH + newest * MICROSECOND

    def schema(self) -> pa.Schema:
        """Return the columns; of one that has several types the newest."""
        with self._cursor() as cursor:
            return self._rows.schema(cursor)

    def values_of(self, column: str) -> list[str]:
        """Return the texts that a column has, in order."""
        with self._cursor() as cursor:
            rows = self._rows.sql(cursor, Interval(None, None))
            found = cursor.sql(f"SELECT DISTINCT {identifier(column)} AS text FROM ({rows}) ORDER BY text").fetchall()
        return [text for (text,) in found if text is not None]

    def closed_windows(self, cut: Cut, *, since: Position | None, watermark: datetime) -> Closed:
        """Return the windows that have closed; see :class:`~monitor.windows.base.Stream`."""
        closed = watermark - self._lateness
        if isinstance(cut.size, timedelta):
            closed = _EPOCH + (closed - _EPOCH) // cut.size * cut.size
        place = None if since is None else (microseconds(since.instant), since.offset)
        interval = Interval(FIRST_INSTANT if since is None else since.instant, closed)
        if interval.start is not None and interval.start >= closed:
            return Closed(windows=(), position=since)
        if not self._looked:  # the newest instant was looked up among just these rows
            self._rows.refresh()
        self._looked = False
        with self._cursor() as cursor:
            if isinstance(cut.size, timedelta):
                pieces, reached = self._by_time(cursor, interval, cut, cut.size, place, microseconds(closed))
            else:
                pieces, reached = self._by_count(cursor, interval, cut, cut.size, place, microseconds(closed))
            undated = self._undated(cursor)
        windows = [
            Window(
                subject=self.name,
                begin=_position(one.begin),
                stop=_position(one.stop),
                rows=one.rows,
                enough=one.enough,
            )
            for one in pieces
        ]
        return Closed(windows=tuple(windows), position=None if reached is None else _position(reached), undated=undated)

    def _by_time(
        self,
        cursor: duckdb.DuckDBPyConnection,
        interval: Interval,
        cut: Cut,
        length: timedelta,
        since: cutting.Place | None,
        until: int,
    ) -> tuple[list[cutting.Piece], cutting.Place | None]:
        size = length // MICROSECOND
        seen = self._seen(cursor, interval)
        number = _floor_div(seen.instant, size)
        numbers, counts = _columns(
            cursor.sql(f"SELECT {number} AS number, count(*) AS rows FROM {seen.rows} GROUP BY number ORDER BY number")
        )
        if since is not None and len(numbers) and numbers[0] == since[0] // size:
            counts[0] -= since[1]
            numbers, counts = numbers[counts > 0], counts[counts > 0]
        age = _PATIENCE if cut.maximum_age is None else -(-cut.maximum_age // length)
        return cutting.by_time(numbers, counts, size=size, minimum=cut.minimum_rows, age=age, since=since, until=until)

    def _by_count(
        self,
        cursor: duckdb.DuckDBPyConnection,
        interval: Interval,
        cut: Cut,
        size: int,
        since: cutting.Place | None,
        until: int,
    ) -> tuple[list[cutting.Piece], cutting.Place | None]:
        seen = self._seen(cursor, interval)
        found = cursor.sql(
            f"SELECT {seen.instant} AS instant, count(*) AS rows FROM {seen.rows} GROUP BY instant ORDER BY instant"
        )
        batches = (
            (batch.column(0).to_numpy(), batch.column(1).to_numpy()) for batch in found.to_arrow_reader(BATCH_ROWS)
        )
        age = None if cut.maximum_age is None else cut.maximum_age // MICROSECOND
        return cutting.by_count(batches, size=size, age=age, since=since, until=until)

    def period(self, since: datetime | None, until: datetime | None) -> Window:
        """Return the rows from one instant on and before another as a window; None is without a bound."""
        self._rows.refresh()
        interval = Interval(FIRST_INSTANT if since is None else since, LAST_INSTANT if until is None else until)
        with self._cursor() as cursor:
            seen = self._seen(cursor, interval)
            found = cursor.sql(f"SELECT count(*), min({seen.instant}), max({seen.instant}) FROM {seen.rows}").fetchall()
        count, first, last = found[0]
        begin = since or (_EPOCH + first * MICROSECOND if count else FIRST_INSTANT)
        stop = until or (_EPOCH + (last + 1) * MICROSECOND if count else begin)
        return Window(subject=self.name, begin=Position(begin), stop=Position(stop), rows=count)

    @contextmanager
    def read(
        self, window: Window, columns: Sequence[str] | None = None, *, where: str = ""
    ) -> Iterator[pa.RecordBatchReader]:
        """Open the rows of a window as a stream of batches; see :class:`~monitor.windows.base.Stream`.

        Raises:
            MonitorError: a file cannot be read, or the condition cannot.
        """
        with self._cursor() as cursor:
            begin, stop = window.begin, window.stop
            rows = f"({self._rows.sql(cursor, Interval(begin.instant, stop.after))})"
            dtypes = _dtypes(cursor, rows)
            dtype = self._checked(dtypes)
            wanted = list(dict.fromkeys([self.time_column, *(dtypes if columns is None else columns)]))
            listed = ", ".join(identifier(name) for name in wanted if name in dtypes)
            query = f"SELECT {listed} FROM ({self._between(rows, begin, stop, dtype)})"
            if where:
                check_condition(where, f"The filter of {self._what[:1].lower()}{self._what[1:]}")
                query = f"{query} WHERE ({where}\n)"
                self._check_condition(cursor, query, where, dtypes)
            if not self._rows.ordered:
                query = f"{query} ORDER BY {', '.join(identifier(name) for name in (self.time_column, *self._order))}"
            reader = cursor.sql(query).to_arrow_reader(BATCH_ROWS)

            def batches() -> Iterator[pa.RecordBatch]:
                with self._errors():
                    yield from reader

            yield pa.RecordBatchReader.from_batches(reader.schema, batches())

    def recount(self, boundaries: Sequence[Position]) -> list[int]:
        """Return how many rows there are by now between each two neighbours of ascending positions."""
        if len(boundaries) < 2:
            return []
        self._rows.refresh()
        instants = np.array([microseconds(one.instant) for one in boundaries], np.int64)
        offsets = np.array([one.offset for one in boundaries], np.int64)
        starts = np.unique(instants)
        before = np.zeros(len(starts), np.int64)
        interval = Interval(boundaries[0].instant, boundaries[-1].instant)
        if len(starts) > 1:
            with self._cursor() as cursor:
                cursor.register("monitor_boundaries__", pa.table({"start": starts}))
                seen = self._seen(cursor, interval)
                counted = _columns(
                    cursor.sql(
                        f"SELECT start, count(*) AS rows FROM (SELECT {seen.instant} AS instant FROM {seen.rows}) "
                        "ASOF JOIN monitor_boundaries__ ON instant >= start GROUP BY start ORDER BY start"
                    )
                )
            before[np.searchsorted(starts, counted[0]) + 1] = counted[1]
        reached = np.cumsum(before)[np.searchsorted(starts, instants)] + offsets
        counts: list[int] = np.diff(reached).tolist()
        return counts

    def _between(self, rows: str, begin: Position, stop: Position, dtype: str) -> str:
        """Return SQL for the rows between two places. Only where a cut parts one instant are rows put in order."""
        column = identifier(self.time_column)

        def within(start: datetime, end: datetime, limit: str = "") -> str:
            return f"SELECT * FROM {rows} AS monitor_row__ WHERE {Interval(start, end).condition(column, dtype)}{limit}"

        order = ", ".join(identifier(name) for name in self._order) or "md5(CAST(monitor_row__ AS VARCHAR))"
        parts = []
        if begin.instant == stop.instant:
            limit = f" ORDER BY {order} LIMIT {stop.offset - begin.offset} OFFSET {begin.offset}"
            return within(begin.instant, later(begin.instant, MICROSECOND), limit)
        if begin.offset:
            parts.append(within(begin.instant, begin.after, f" ORDER BY {order} OFFSET {begin.offset}"))
        if begin.after < stop.instant:
            parts.append(within(begin.after, stop.instant))
        if stop.offset:
            parts.append(within(stop.instant, stop.after, f" ORDER BY {order} LIMIT {stop.offset}"))
        return " UNION ALL ".join(f"SELECT * FROM ({part})" for part in parts)

    def _seen(self, cursor: duckdb.DuckDBPyConnection, interval: Interval) -> _Seen:
        rows = f"({self._rows.sql(cursor, interval)})"
        dtype = self._checked(_dtypes(cursor, rows))
        column = identifier(self.time_column)
        instant = _floor_div(f"epoch_ns({column})", 1000) if dtype == "TIMESTAMPTZ_NS" else f"epoch_us({column})"
        return _Seen(f"(SELECT {column} FROM {rows} WHERE {interval.condition(column, dtype)})", instant)

    def _undated(self, cursor: duckdb.DuckDBPyConnection) -> int:
        rows = f"({self._rows.undated_sql(cursor)})"
        dtype = self._checked(_dtypes(cursor, rows))
        dated = Interval(FIRST_INSTANT, None).condition(identifier(self.time_column), dtype)
        (count,) = cursor.sql(f"SELECT count(*) FROM {rows} WHERE ({dated}) IS NOT TRUE").fetchall()[0]
        return int(count)

    def _checked(self, dtypes: dict[str, str]) -> str:
        if self.time_column not in dtypes:
            raise SchemaError(
                f'{self._what} has no column "{self.time_column}", which is to say when each row was true.',
                hint=closest(self.time_column, dtypes),
            )
        dtype = dtypes[self.time_column]
        if dtype not in INSTANTS:
            raise TimestampError(
                f'Column "{self.time_column}" of {self._what[:1].lower()}{self._what[1:]} is {dtype}.',
                hint="It holds timestamps with a zone, or dates; in a query: "
                f"{self.time_column} AT TIME ZONE 'UTC' AS {self.time_column}.",
            )
        return dtype

    def _check_condition(
        self, cursor: duckdb.DuckDBPyConnection, query: str, where: str, dtypes: dict[str, str]
    ) -> None:
        try:
            cursor.execute(f"EXPLAIN {query}").fetchall()
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
            raise MonitorError(
                f'The filter of {self._what[:1].lower()}{self._what[1:]} ("{where}") cannot be applied: '
                f"{explain(error).partition(' LINE ')[0]}",
                hint=f"Its columns are {', '.join(dtypes)}.",
            ) from error

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._errors():
            if self._connection is None:
                spill = spill_folder(self._config)
                self._connection = self._opened.enter_context(connect(self._config.offline, spill, self._what))
            # A cursor for each: a query of its own would end the stream that another one still reads.
            with self._connection.cursor() as cursor:
                cursor.execute("SET TimeZone = 'UTC'")
                cursor.execute("SET enable_progress_bar = false")
                yield cursor

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say whose rows it is that cannot be read; out of a stream, DuckDB's errors are OSError."""
        try:
            yield
        except FeatureStoreError:
            raise
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            # Too little memory is no fault of the rows, and looking for one would read all of them.
            ours = isinstance(error, (duckdb.OutOfMemoryException, duckdb.InterruptException))
            fault = None if ours else self._rows.fault()
            if fault is not None:
                raise fault from error
            raise MonitorError(
                f"{self._what} cannot be read: {explain(error)}",
                hint="Mend what the message names; nothing is lost, and the next run reads it again.",
            ) from error


def _dtypes(cursor: duckdb.DuckDBPyConnection, rows: str) -> dict[str, str]:
    found = cursor.sql(f"SELECT * FROM {rows} LIMIT 0")
    return dict(zip(found.columns, map(str, found.types), strict=True))


def _columns(found: duckdb.DuckDBPyRelation) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    table = found.to_arrow_table()
    first, second = (np.array(column.to_numpy(), np.int64) for column in table.columns)
    return first, second


def _floor_div(number: str, by: int) -> str:
    """Return SQL that divides whole numbers and rounds down, also those under zero."""
    return f"(({number}) - ((({number}) % {by}) + {by}) % {by}) // {by}"


def _position(place: cutting.Place) -> Position:
    return Position(_EPOCH + place[0] * MICROSECOND, place[1])
