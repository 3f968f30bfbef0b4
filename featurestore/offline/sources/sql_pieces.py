"""What DuckDB reads: a file, or a query over files and Delta tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from featurestore.config import Config
from featurestore.errors import DataError, TimestampError
from featurestore.offline import engine
from featurestore.offline.places import spill_folder
from featurestore.offline.sources.csv_rows import other_line_end
from featurestore.offline.sources.intervals import INSTANTS, Interval
from featurestore.offline.sources.pieces import Piece
from featurestore.offline.sources.source_files import SourceFiles

#: What the query of ``csv_rows.declared_scan`` says, and what DuckDB says of a line that is not CSV.
_NAIVE = re.compile(r"Invalid Input Error: (.+ names no time zone)")
_BROKEN_LINE = re.compile(r"CSV Error on Line: (\d+)\n(.*?)\n\s*Possible", re.DOTALL)
#: Which file of several that was, among its options.
_FILE = re.compile(r"\n\s*file = (.+)")
#: What DuckDB says, before pages of its options, of a file whose form it lost.
_LOST = re.compile(r"CSV Parser state machine reached an invalid state[\s\S]*?\n\s*file = (.+)")

#: The SQL that DuckDB points to; of a file it is none that the user wrote.
_LINE_OF_SQL = re.compile(r" LINE \d+: .*", re.DOTALL)

#: What a piece is called that is no file.
QUERY = "query"

#: The view of what a query gives. No source can have such a name.
_RESULT = "result__"


class SqlPiece(Piece):
    """What DuckDB reads: a file, or a query over files and Delta tables.

    Args:
        query: the SQL that reads it.
        tables: the sources that the query names, each with its files or its Arrow dataset.
        name: as every piece.
        load_id: the same while path, size and time of change of its files, and the query are; else another one.
        location: as every piece.
        seen: of some sources, SQL that is true for the rows which the query is to see.
        about: the column of the result, and the instants of it, that are enough to read; more may come. Rows without
            an instant do.
    """

    def __init__(
        self,
        *,
        query: str,
        tables: Mapping[str, Any] | None = None,
        name: str,
        load_id: str,
        location: str = "",
        seen: Mapping[str, str] | None = None,
        about: tuple[str, Interval] | None = None,
    ) -> None:
        super().__init__(name=name, load_id=load_id, location=location)
        self._query = query
        self._tables = tables or {}
        self._seen = seen or {}
        self._about = about

    @contextmanager
    def read(self, config: Config, what: str) -> Iterator[pa.RecordBatchReader]:
        """Yield the rows as a stream.

        Raises:
            DataError: a file cannot be read, or the query fails; the message names it.
        """
        with engine.connect(config.offline, spill_folder(config), what) as connection:
            try:
                define(connection, self._tables, self._seen)
                said = [note for one in self._tables.values() if isinstance(one, SourceFiles) for note in one.notes]
                self.notes = tuple(dict.fromkeys([*self.notes, *said]))
                kinds = [one.type for one in connection.extract_statements(self._query)]
                if kinds != [duckdb.StatementType.SELECT]:
                    raise DataError(
                        f"{what}: its query is not one SELECT.", hint="Write one SELECT, WITH ... before it."
                    )
                # sql() alone would not say in which line a column is unknown.
                connection.execute(f"EXPLAIN {self._query}").fetchall()
                rows = connection.sql(self._wanted(connection)).to_arrow_reader(engine.BATCH_ROWS)
            except duckdb.Error as error:
                raise unreadable(what, self.name, error) from error

            def batches() -> Iterator[pa.RecordBatch]:
                # Only what goes wrong in reading is the source's fault; out of a stream, DuckDB's errors are OSError.
                try:
                    yield from rows
                except (duckdb.Error, pa.ArrowException, OSError) as error:
                    raise unreadable(what, self.name, error) from error

            yield pa.RecordBatchReader.from_batches(rows.schema, batches())

    def _wanted(self, connection: duckdb.DuckDBPyConnection) -> str:
        if self._about is None:
            return self._query
        name, interval = self._about
        connection.execute(f"CREATE TEMP VIEW {_RESULT} AS {self._query}")
        dtype = columns_of(connection, _RESULT).get(name)
        if dtype not in INSTANTS:  # which the check of the rows' schema says, as for every load
            return f"SELECT * FROM {_RESULT}"
        column = engine.identifier(name)
        within = interval.widened().condition(column, dtype)
        return f"SELECT * FROM {_RESULT} WHERE ({within}) OR {column} IS NULL"


def define(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Any], seen: Mapping[str, str]) -> None:
    """Make sources known to a connection by their names.

    Args:
        connection: where.
        tables: the files or the Arrow dataset of each.
        seen: of some of them, SQL that is true for the rows which are to be seen.

    Raises:
        DataError: a file cannot be read, or the files of a source do not agree on their columns.
        duckdb.Error: a line of a CSV file is broken.
    """
    for name, given in tables.items():
        condition = f"WHERE {seen[name]}" if name in seen else ""
        table = given.scan(connection) if isinstance(given, SourceFiles) else given
        if isinstance(table, str):
            connection.execute(f"CREATE TEMP VIEW {engine.identifier(name)} AS SELECT * FROM ({table}) {condition}")
        elif not condition:
            connection.register(name, table)
        else:
            whole = f"{name}__whole"
            connection.register(whole, table)
            connection.execute(
                f"CREATE TEMP VIEW {engine.identifier(name)} AS SELECT * FROM {engine.identifier(whole)} {condition}"
            )


def query_fault(query: str, tables: Mapping[str, Any], config: Config, what: str) -> str | None:
    """Return what DuckDB finds wrong in a query when it looks up its names and types; None if nothing.

    Args:
        query: the SQL.
        tables: the files or the Arrow dataset of each source; of one that cannot be read nothing is said.
        config: the store's settings.
        what: whose query it is, to begin messages.
    """
    with engine.connect(config.offline, spill_folder(config), what) as connection:
        try:
            define(connection, tables, {})
            connection.execute(f"EXPLAIN {query}").fetchall()
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
            return _written(error)
        except (duckdb.Error, pa.ArrowException, OSError, DataError):
            return None
    return None


def columns_of(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    """Return the columns of a view of a connection with their types, as DuckDB names them."""
    rows = connection.sql(f"SELECT * FROM {engine.identifier(name)}")
    return dict(zip(rows.columns, map(str, rows.types), strict=True))


def unreadable(what: str, name: str, error: Exception) -> DataError:
    """Return the error for what DuckDB cannot read.

    Args:
        what: whose source it is, to begin the message.
        name: the file, or what is queried.
        error: what DuckDB says.
    """
    said = str(error)
    if naive := _NAIVE.search(said):
        return TimestampError(
            f"{what}: {name} cannot be read: {naive.group(1)}.",
            hint="Write its zone into the file: 2013-01-01T07:00:00Z, or an offset such as +01:00.",
        )
    if broken := _BROKEN_LINE.search(said):
        # The reason is the last line before pages of advice on options that a user of this package does not have.
        reason = broken.group(2).strip().splitlines()[-1].rstrip(".")
        name = _file_of(said, name)
        return DataError(f"{what}: {name} cannot be read: line {broken.group(1)}: {reason}.")
    if lost := _LOST.search(said):
        name = _file_of(said, name)
        line = other_line_end(Path(lost.group(1)))
        reason = "it does not keep to the rules of CSV" if line is None else f"line {line} does not end as line 1 does"
        return DataError(
            f"{what}: {name} cannot be read: {reason}.",
            hint="Look at its quotes, each of which needs another one."
            if line is None
            else f"Save it with one kind of line ends: sed -i 's/\\r$//' {name}",
        )
    explained = _LINE_OF_SQL.sub("", engine.explain(error)) if name != QUERY else _written(error)
    return DataError(f"{what}: {name} cannot be read: {explained}")


def _file_of(said: str, name: str) -> str:
    found = _FILE.search(said)
    return name if found is None else Path(found.group(1)).name


def _written(error: Exception) -> str:
    """Return what DuckDB says of a query as it was written, without what this module put before it."""
    return engine.explain(error).replace(" EXPLAIN ", " ", 1)
