"""What a view's source holds, as streams of rows, each with an id that says whether it was loaded before."""

from __future__ import annotations

import csv
import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore import types
from featurestore.config import Config
from featurestore.definitions import FeatureView, FileSource, PushSource, storage_id
from featurestore.definitions.names import check_unique
from featurestore.errors import DataError
from featurestore.offline import engine

#: The form is given, not guessed: after a broken line the guess would be one wide column, and the error a riddle.
_CSV = "delim = ',', quote = '\"', escape = '\"', header = true, nullstr = ['', 'NA']"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a source that is loaded as one: a file, or the result of a query.

    Attributes:
        name: for messages: the file's name, or "query".
        load_id: the same while path, size and time of change of its files and the query are; else another one.
        query: the SQL that reads it.
        tables: the sources that the query names, as (name, SQL that reads it).
    """

    name: str
    load_id: str
    query: str
    tables: tuple[tuple[str, str], ...] = ()


def pieces(view: FeatureView, config: Config) -> list[Piece]:
    """Return the parts of the view's source, in the order in which they are to be loaded.

    Raises:
        DataError: the view has nothing to read, or no file is where the source says.
    """
    source = view.source
    if source is None or isinstance(source, PushSource):
        raise DataError(
            f'Feature view "{view.name}" has no source to read.',
            hint=f'Pass the rows: store.ingest("{view.name}", frame).',
        )
    table = storage_id(view)
    if isinstance(source, FileSource):
        return [
            Piece(name=file.name, load_id=_load_id(table, [file], config.root), query=_declared_scan(file, view))
            for file in _files(source, config)
        ]
    found = {one.name: _files(one, config) for one in source.sources}
    tables = tuple((name, f"SELECT * FROM {_scan(files)}") for name, files in found.items())
    every = [file for files in found.values() for file in files]
    return [Piece(name="query", load_id=_load_id(table, every, config.root), query=source.query, tables=tables)]


@contextmanager
def read(piece: Piece, config: Config, what: str) -> Iterator[pa.RecordBatchReader]:
    """Yield the rows of a piece as a stream.

    Raises:
        DataError: a file cannot be read, or the query fails; the message names it.
    """
    with engine.connect(config.offline, config.path(config.offline.path) / ".spill", what) as connection:
        try:
            for name, query in piece.tables:
                connection.execute(f"CREATE TEMP VIEW {engine.identifier(name)} AS {query}")
            kinds = [one.type for one in connection.extract_statements(piece.query)]
            if kinds != [duckdb.StatementType.SELECT]:
                raise DataError(f"{what}: its query is not one SELECT.", hint="Write one SELECT, WITH ... before it.")
            # sql() alone would not say in which line a column is unknown.
            connection.execute(f"EXPLAIN {piece.query}").fetchall()
            rows = connection.sql(piece.query).to_arrow_reader(engine.BATCH_ROWS)
        except duckdb.Error as error:
            raise _unreadable(what, piece, error) from error

        def batches() -> Iterator[pa.RecordBatch]:
            # Only what goes wrong in reading is the source's fault; DuckDB's errors come out of a stream as OSError.
            try:
                yield from rows
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise _unreadable(what, piece, error) from error

        yield pa.RecordBatchReader.from_batches(rows.schema, batches())


def _unreadable(what: str, piece: Piece, error: Exception) -> DataError:
    return DataError(f"{what}: {piece.name} cannot be read: {engine.explain(error)}")


def _files(source: FileSource, config: Config) -> list[Path]:
    located = config.sources.get(source.name) if source.name else None
    pattern = located.path if located is not None else source.path
    found = sorted(glob.glob(str(config.path(pattern)), recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        raise DataError(
            f'No file matches "{pattern}" (from {config.root}).',
            hint="Check the path; [sources.NAME] in featurestore.toml can put a named source elsewhere.",
        )
    return [Path(file) for file in found]


def _declared_scan(file: Path, view: FeatureView) -> str:
    """Return the query that reads a file of rows for a view.

    A CSV file has no types, so the view's declaration gives them, not a guess: a code such as 007 stays a text, a
    column may be empty, and a line that does not fit is named. Instants must name their zone there, or be dates.
    """
    if file.suffix.lower() != ".csv":
        return f"SELECT * FROM {_scan([file])}"
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f'The source of feature view "{view.name}": {file.name} cannot be read: {error}.') from error
    if not header:
        raise DataError(f'The source of feature view "{view.name}": {file.name} is empty.', hint="Remove it.")
    check_unique(header, f"The first line of {file.name}")
    declared = view.keys | {one.name: one.dtype for one in view.schema}
    instants = {view.timestamp_field, view.created_timestamp_column}
    instants |= {name for name, dtype in declared.items() if dtype is types.Timestamp}
    columns, selected = [], []
    for name in header:
        dtype = types.String if name in instants else declared.get(name, types.String)
        columns.append(f"{engine.literal(name)}: {engine.literal(dtype.duckdb)}")
        selected.append(_instant(name) if name in instants else engine.identifier(name))
    return (
        f"SELECT {', '.join(selected)} FROM read_csv({engine.literal(str(file))}, {_CSV}, auto_detect = false, "
        f"columns = {{{', '.join(columns)}}})"
    )


def _instant(name: str) -> str:
    column = engine.identifier(name)
    zoned = f"regexp_matches({column}, '(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') AND length({column}) > 10"
    is_date = f"regexp_matches({column}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$')"
    said = f"error({engine.literal(name)} || ' ' || {column} || ' names no time zone')"
    return (
        f"CASE WHEN {column} IS NULL OR ({zoned}) OR {is_date} THEN CAST({column} AS TIMESTAMPTZ) "
        f"ELSE CAST({said} AS TIMESTAMPTZ) END AS {column}"
    )


def _scan(files: list[Path]) -> str:
    listed = ", ".join(engine.literal(str(file)) for file in files)
    if files[0].suffix.lower() == ".csv":
        # Types are inferred over the whole file: a column that is empty for the first thousand rows is common.
        return f"read_csv([{listed}], {_CSV}, sample_size = -1, union_by_name = true)"
    return f"read_parquet([{listed}], union_by_name = true)"


def _load_id(table: str, files: list[Path], root: Path) -> str:
    digest = hashlib.sha256(table.encode())
    for file in files:
        info = file.stat()
        # Relative, so that a feature store that was moved or mounted elsewhere does not load everything again.
        digest.update(f"\n{os.path.relpath(file, root)}\t{info.st_size}\t{info.st_mtime_ns}".encode())
    return f"source-{digest.hexdigest()[:24]}"
