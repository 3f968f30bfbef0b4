"""What a view's source holds, as streams of rows, each with an id that says whether it was loaded before."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from featurestore import types
from featurestore.config import Config
from featurestore.definitions import FeatureView, FileSource, PushSource, QuerySource, SqlSource
from featurestore.definitions.names import check_unique
from featurestore.errors import ConfigError, DataError, SchemaError, TimestampError
from featurestore.offline import engine
from featurestore.offline.checks import UNREADABLE
from featurestore.offline.databases import QueryPiece, place_of
from featurestore.offline.delta_source import Snapshot, SnapshotPiece
from featurestore.offline.pieces import FILES, Piece
from featurestore.offline.tables import LoadMetadata

#: The form is given, not guessed: after a broken line the guess would be one wide column, and the error a riddle.
_CSV = "delim = ',', quote = '\"', escape = '\"', header = true, nullstr = ['', 'NA']"

#: What the query of :func:`_instant` says, and what DuckDB says of a line that is not CSV.
_NAIVE = re.compile(r"Invalid Input Error: (.+ names no time zone)")
_BROKEN_LINE = re.compile(r"CSV Error on Line: (\d+)\n(.*?)\n\s*Possible", re.DOTALL)


class SqlPiece(Piece):
    """What DuckDB reads: a file, or a query over files and Delta tables.

    Args:
        query: the SQL that reads it.
        tables: the sources that the query names, each with the SQL or the Arrow dataset that reads it.
        name: as every piece.
        load_id: the same while path, size and time of change of its files, and the query are; else another one.
        location: as every piece.
    """

    def __init__(
        self, *, query: str, tables: dict[str, Any] | None = None, name: str, load_id: str, location: str = ""
    ) -> None:
        super().__init__(name=name, load_id=load_id, location=location)
        self._query = query
        self._tables = tables or {}

    @contextmanager
    def read(self, config: Config, what: str) -> Iterator[pa.RecordBatchReader]:
        """Yield the rows as a stream.

        Raises:
            DataError: a file cannot be read, or the query fails; the message names it.
        """
        with engine.connect(config.offline, config.path(config.offline.path) / ".spill", what) as connection:
            try:
                for name, table in self._tables.items():
                    if isinstance(table, str):
                        connection.execute(f"CREATE TEMP VIEW {engine.identifier(name)} AS {table}")
                    else:
                        connection.register(name, table)
                kinds = [one.type for one in connection.extract_statements(self._query)]
                if kinds != [duckdb.StatementType.SELECT]:
                    raise DataError(
                        f"{what}: its query is not one SELECT.", hint="Write one SELECT, WITH ... before it."
                    )
                # sql() alone would not say in which line a column is unknown.
                connection.execute(f"EXPLAIN {self._query}").fetchall()
                rows = connection.sql(self._query).to_arrow_reader(engine.BATCH_ROWS)
            except duckdb.Error as error:
                raise _unreadable(what, self, error) from error

            def batches() -> Iterator[pa.RecordBatch]:
                # Only what goes wrong in reading is the source's fault; out of a stream, DuckDB's errors are OSError.
                try:
                    yield from rows
                except (duckdb.Error, pa.ArrowException, OSError) as error:
                    raise _unreadable(what, self, error) from error

            yield pa.RecordBatchReader.from_batches(rows.schema, batches())


def pieces(view: FeatureView, config: Config, last: LoadMetadata | None) -> list[Piece]:
    """Return the parts of the view's source, in the order in which they are to be loaded.

    Args:
        view: the view.
        config: where sources lie in this environment.
        last: the last load of this source into the view's table; None before the first.

    Raises:
        DataError: the view has nothing to read, or nothing is where the source says.
        ConfigError: ``featurestore.toml`` puts the source where such a source cannot be.
    """
    source = view.source
    if source is None or isinstance(source, PushSource):
        raise DataError(
            f'Feature view "{view.name}" has no source to read.',
            hint=f'Pass the rows: store.ingest("{view.name}", frame).',
        )
    if isinstance(source, QuerySource):
        return [_query_piece(source, view, config, last)]
    if isinstance(source, SqlSource):
        return [_sql_piece(source, view, config)]
    location = _path(source, config)
    if source.format == "delta":
        snapshot = Snapshot(config.path(location), f'The source of feature view "{view.name}"')
        return [SnapshotPiece(snapshot, None if last is None else last.watermark, location)]
    return [
        SqlPiece(
            name=file.name,
            load_id=_load_id([file], config.root),
            location=location,
            query=_declared_scan(file, view),
        )
        for file in _files(source, config)
    ]


def _query_piece(source: QuerySource, view: FeatureView, config: Config, last: LoadMetadata | None) -> Piece:
    located = config.sources.get(source.name) if source.name else None
    if located is not None and located.path:
        raise _misplaced(source.name, "a QuerySource", "connection or db_schema")
    connection = (located.connection if located is not None else "") or source.connection
    db_schema = "" if located is None else located.db_schema
    since, notes = (None, ()) if last is None else (last.watermark, ())
    if last is not None and last.location != place_of(connection, config, db_schema):
        # What another database counts as new is not known.
        since, notes = None, ("all rows were read, as the source lies elsewhere now",) if since else ()
    return QueryPiece(source, view, config, connection=connection, db_schema=db_schema, since=since, notes=notes)


def _sql_piece(source: SqlSource, view: FeatureView, config: Config) -> Piece:
    if source.name and source.name in config.sources:
        raise ConfigError(
            f'[sources.{source.name}] in featurestore.toml puts "{source.name}" elsewhere, which is a SqlSource.',
            hint=f"Put the files that it reads elsewhere: {', '.join(one.name for one in source.sources)}.",
        )
    tables: dict[str, Any] = {}
    files: list[Path] = []
    states: list[str] = []
    for one in source.sources:
        if one.format == "delta":
            snapshot = Snapshot(config.path(_path(one, config)), f'The source of feature view "{view.name}"')
            tables[one.name] = snapshot.dataset
            states.append(json.dumps(snapshot.identity(), sort_keys=True))
        else:
            found = _files(one, config)
            tables[one.name] = f"SELECT * FROM {_scan(found)}"
            files += found
    return SqlPiece(
        name="query",
        load_id=_load_id(files, config.root, states),
        location=", ".join(f"{one.name} in {_path(one, config)}" for one in source.sources),
        query=source.query,
        tables=tables,
    )


def file_piece(file: Path, view: FeatureView, load_id: str) -> Piece:
    """Return one file, named by a caller, as a piece that is read as a FileSource of the view is.

    Raises:
        DataError: it is no .parquet or .csv file, or its first line cannot be read.
    """
    if not file.exists():
        raise DataError(f"There is no file {file}.", hint="Relative paths start at the folder where this runs.")
    if file.is_dir():
        raise DataError(
            f"{file} is a folder.", hint=f'Name a file, or give the view FileSource(path="{file}/*.parquet").'
        )
    if file.suffix.lower() not in (".parquet", ".csv"):
        raise DataError(f"{file} ends in neither .parquet nor .csv.", hint="These two are read.")
    return SqlPiece(name=file.name, load_id=load_id, query=_declared_scan(file, view))


def _unreadable(what: str, piece: Piece, error: Exception) -> DataError:
    said = str(error)
    if naive := _NAIVE.search(said):
        return TimestampError(
            f"{what}: {piece.name} cannot be read: {naive.group(1)}.",
            hint="Write its zone into the file: 2013-01-01T07:00:00Z, or an offset such as +01:00.",
        )
    if broken := _BROKEN_LINE.search(said):
        # The reason is the last line before pages of advice on options that a user of this package does not have.
        reason = broken.group(2).strip().splitlines()[-1].rstrip(".")
        return DataError(f"{what}: {piece.name} cannot be read: line {broken.group(1)}: {reason}.")
    return DataError(f"{what}: {piece.name} cannot be read: {engine.explain(error)}")


def _misplaced(name: str, kind: str, keys: str) -> ConfigError:
    return ConfigError(
        f"[sources.{name}] in featurestore.toml puts {kind} where it cannot be.", hint=f"It takes {keys}, no more."
    )


def _path(source: FileSource, config: Config) -> str:
    located = config.sources.get(source.name) if source.name else None
    if located is None:
        return source.path
    if not located.path or located.connection or located.db_schema:
        raise _misplaced(source.name, "a FileSource", "path")
    return located.path


def _files(source: FileSource, config: Config) -> list[Path]:
    pattern = _path(source, config)
    found = sorted(glob.glob(str(config.path(pattern)), recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        raise DataError(
            f'No file matches "{pattern}" (from {config.root}).',
            hint="Check the path; [sources.NAME] in featurestore.toml can put a named source elsewhere.",
        )
    return [Path(file) for file in found]


def _declared_scan(file: Path, view: FeatureView) -> str:
    """Return the query that reads a file of rows for a view.

    A CSV file has no types, so the view's declaration gives them, not a guess: a code such as 007 stays a text, and a
    column may be empty. A cell that is not of its type is null, and the row says so in the column
    :data:`~featurestore.offline.checks.UNREADABLE`. Instants must name their zone there, or be dates.
    """
    if file.suffix.lower() != ".csv":
        return f"SELECT * FROM {_scan([file])}"
    what = f'The rows for feature view "{view.name}"'
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines), [])
    except UnicodeDecodeError as error:
        raise DataError(
            f"{what}: {file.name} cannot be read: it is not UTF-8 text.", hint="Save it as UTF-8."
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{what}: {file.name} cannot be read: {error}.") from error
    if not header:
        raise DataError(f"{what}: {file.name} is empty.", hint="A CSV file begins with the names of its columns.")
    check_unique(header, f"The first line of {file.name}")
    declared = view.keys | {one.name: one.dtype for one in view.schema}
    for name in header:
        if name in declared and not declared[name].scalar:
            raise SchemaError(
                f'{what}: column "{name}" is declared as {declared[name]}, which a cell of a CSV file cannot hold.',
                hint="Keep the rows as Parquet, or pass a frame.",
            )
    true_from = (view.timestamp_field, view.created_timestamp_column)
    selected, faults, cells = [], [], []
    for name in header:
        dtype = types.Timestamp if name in true_from else declared.get(name, types.String)
        text = f"r.{engine.identifier(name)}"
        value = _instant(name, text, up=name in true_from) if dtype is types.Timestamp else _value(text, dtype)
        selected.append(f"{value} AS {engine.identifier(name)}")
        if dtype is not types.String:
            fault = f"({text} IS NOT NULL AND ({value}) IS NULL)"
            faults.append(f"WHEN {fault} THEN {engine.literal(f'{name} is not {dtype}')}")
            cells.append(f"CASE WHEN {fault} THEN {engine.literal(f'{name}=')} || {text} END")
    if faults:
        told = f"{{'reason': CASE {' '.join(faults)} END, 'cells': concat_ws(', ', {', '.join(cells)})}}"
        selected.append(f"{told} AS {UNREADABLE}")
    columns = ", ".join(f"{engine.literal(name)}: 'VARCHAR'" for name in header)
    return (
        f"SELECT {', '.join(selected)} FROM read_csv({engine.literal(str(file))}, {_CSV}, auto_detect = false, "
        f"columns = {{{columns}}}) r"
    )


def _value(text: str, dtype: types.DType) -> str:
    """Return SQL for the value of a text, null where the text is not of the type or would lose something."""
    value = f"TRY_CAST({text} AS {dtype.duckdb})"
    if dtype in (types.Int32, types.Int64):  # a cast rounds 1.5 to 2
        return f"CASE WHEN TRY_CAST({text} AS DOUBLE) % 1 = 0 THEN {value} END"
    if dtype is types.Float32:  # a cast makes 1e39 an infinity
        return f"CASE WHEN NOT isinf({value}) OR isinf(TRY_CAST({text} AS DOUBLE)) THEN {value} END"
    if dtype.precision:  # a cast rounds the digits that are too many
        exact = engine.literal(rf"\s*[+-]?[0-9]*([.][0-9]{{0,{dtype.scale}}}0*)?\s*")
        return f"CASE WHEN regexp_full_match({text}, {exact}) THEN {value} END"
    if dtype is types.Date:  # a cast drops the time of day
        return f"CASE WHEN TRY_CAST({text} AS TIMESTAMP) = {value} THEN {value} END"
    return text if dtype is types.String else value


def _instant(name: str, text: str, *, up: bool) -> str:
    zoned = f"regexp_matches({text}, '(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') AND length({text}) > 10"
    is_date = f"regexp_matches({text}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$')"
    said = f"error({engine.literal(name)} || ' ' || {text} || ' names no time zone')"
    value = f"TRY_CAST({text} AS TIMESTAMPTZ)"
    if up:  # the cast cuts nanoseconds down; see conform.instants
        beyond = f"regexp_matches({text}, '[.][0-9]{{6}}[0-9]*[1-9]')"
        value = f"{value} + CASE WHEN {beyond} THEN INTERVAL 1 MICROSECOND ELSE INTERVAL 0 MICROSECOND END"
    return (
        f"CASE WHEN ({zoned}) OR {is_date} THEN {value} "
        f"WHEN TRY_CAST({text} AS TIMESTAMP) IS NOT NULL THEN CAST({said} AS TIMESTAMPTZ) END"
    )


def _scan(files: list[Path]) -> str:
    listed = ", ".join(engine.literal(str(file)) for file in files)
    if files[0].suffix.lower() == ".csv":
        # Types are inferred over the whole file: a column that is empty for the first thousand rows is common.
        return f"read_csv([{listed}], {_CSV}, sample_size = -1, union_by_name = true)"
    return f"read_parquet([{listed}], union_by_name = true)"


def _load_id(files: list[Path], root: Path, states: Iterable[str] = ()) -> str:
    # Not of the table: what two versions of a view have read of one source is known to be the same.
    digest = hashlib.sha256()
    for file in files:
        info = file.stat()
        # Relative, so that a feature store that was moved or mounted elsewhere does not load everything again.
        digest.update(f"\n{os.path.relpath(file, root)}\t{info.st_size}\t{info.st_mtime_ns}".encode())
    for state in states:
        digest.update(f"\n{state}".encode())
    return f"{FILES}{digest.hexdigest()[:24]}"
