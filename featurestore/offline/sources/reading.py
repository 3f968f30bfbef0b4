"""What a view's source holds, as streams of rows, each with an id that says whether it was loaded before."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore import types
from featurestore.config import Config
from featurestore.definitions import FeatureView, FileSource, PushSource, QuerySource, SqlSource
from featurestore.errors import ConfigError, DataError, DefinitionError
from featurestore.offline import engine
from featurestore.offline.sources import file_ids
from featurestore.offline.sources.csv_rows import declared_scan
from featurestore.offline.sources.databases import QueryPiece, place_of
from featurestore.offline.sources.delta_source import Snapshot, SnapshotPiece
from featurestore.offline.sources.incremental import next_run, run_over
from featurestore.offline.sources.intervals import Interval
from featurestore.offline.sources.pieces import FILES, Piece, Within
from featurestore.offline.sources.source_files import SourceFiles
from featurestore.offline.sources.sql_pieces import QUERY, SqlPiece, query_fault
from featurestore.offline.tables.table import LoadMetadata
from featurestore.places import place_of as built_at

_OR_A_SOURCE = 'Name a file, or give the view FileSource(path="{file}/*.parquet").'


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
            hint=f'Pass the rows: featurestore ingest {view.name} FILE, or store.ingest("{view.name}", frame).',
        )
    if isinstance(source, QuerySource):
        return [_query_piece(source, view, config, last)]
    if isinstance(source, SqlSource):
        return [_sql_piece(source, view, config, last)]
    location = path_of(source, config)
    if source.format == "delta":
        snapshot = Snapshot(config.path(location), f'The source of feature view "{view.name}"')
        return [SnapshotPiece(snapshot, None if last is None else last.watermark, location)]
    return [
        SqlPiece(
            name=file.name,
            load_id=_load_id([file], config.root),
            location=location,
            query=_declared(file, view, config.root),
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


def _sql_piece(source: SqlSource, view: FeatureView, config: Config, last: LoadMetadata | None) -> Piece:
    _check_place(source, config)
    what = f'The source of feature view "{view.name}"'
    if source.lookback is None:
        return query_piece(source.query, source.sources, config, what)
    read = _sources(source.query, source.sources, config, what)
    run = next_run(source, read.tables, read.location, last, config, what)
    states = [*read.states, json.dumps(run.newest)]
    piece = SqlPiece(
        name=QUERY,
        load_id=_load_id(read.files, config.root, states),
        location=read.location,
        query=source.query,
        tables=read.tables,
        seen=run.seen,
        about=(view.timestamp_field, run.interval),
    )
    return Within(piece, view, run.interval, newest=run.newest, notes=run.notes)


def pieces_within(view: FeatureView, config: Config, interval: Interval) -> list[Piece]:
    """Return the parts of the view's source with the rows of an interval, whatever was loaded before, in order.

    A SqlSource with a ``lookback`` runs over the interval; of files what their statistics leave is read; a SqlSource
    without one and a QuerySource give all that they have, of which the interval is kept.

    Args:
        view: the view.
        config: where sources lie in this environment.
        interval: the event times.

    Raises:
        DataError: the view has no source that could be read again, or nothing is where the source says.
        ConfigError: ``featurestore.toml`` puts the source where such a source cannot be.
    """
    source = view.source
    if source is None or isinstance(source, PushSource):
        raise DataError(
            f'Feature view "{view.name}" has no source to read again.',
            hint=f"Pass the rows as they should be: featurestore ingest {view.name} FILE, or "
            f'store.ingest("{view.name}", frame); of two rows with one key and event time the one loaded last counts.',
        )
    about = (view.timestamp_field, interval)
    if isinstance(source, QuerySource):
        found = [_query_piece(source, view, config, None)]
    elif isinstance(source, SqlSource):
        _check_place(source, config)
        what = f'The source of feature view "{view.name}"'
        read = _sources(source.query, source.sources, config, what)
        run = None if source.lookback is None else run_over(source, read.tables, interval, config, what)
        found = [
            SqlPiece(
                name=QUERY,
                load_id="",
                location=read.location,
                query=source.query,
                tables=read.tables,
                seen={} if run is None else run.seen,
                about=about,
            )
        ]
    elif source.format == "delta":
        location = path_of(source, config)
        snapshot = Snapshot(config.path(location), f'The source of feature view "{view.name}"')
        found = [SnapshotPiece(snapshot, None, location)]
    else:
        found = [
            SqlPiece(name=file.name, load_id="", query=_declared(file, view, config.root), about=about)
            for file in _files(source, config)
        ]
    return [Within(piece, view, interval) for piece in found]


def _check_place(source: SqlSource, config: Config) -> None:
    if source.name and source.name in config.sources:
        raise ConfigError(
            f'[sources.{source.name}] in featurestore.toml puts "{source.name}" elsewhere, which is a SqlSource.',
            hint=f"Put the files that it reads elsewhere: {', '.join(one.name for one in source.sources)}.",
        )


def query_piece(
    query: str, sources: Sequence[FileSource], config: Config, what: str, *, tables: Mapping[str, Any] | None = None
) -> Piece:
    """Return a query over files and Delta tables as a piece.

    Args:
        query: one SELECT, checked.
        sources: what it reads, by their names.
        config: where they lie in this environment.
        what: what the rows are for, to begin messages.
        tables: what else it reads, by name: Arrow tables, or SQL.

    Raises:
        DataError: nothing is where a source says.
        ConfigError: ``featurestore.toml`` puts a source where such a source cannot be.
    """
    read = _sources(query, sources, config, what)
    return SqlPiece(
        name=QUERY,
        load_id=_load_id(read.files, config.root, read.states),
        location=read.location,
        query=query,
        tables={**read.tables, **(tables or {})},
    )


def check_query(view: FeatureView, config: Config) -> None:
    """Check the query of a view's SqlSource against the columns of its sources, of which no row is computed.

    Where one of the sources is not there, or cannot be read, nothing is checked: the next load will tell.

    Raises:
        DefinitionError: it names a column, or a function of types, that there is not.
        ConfigError: ``featurestore.toml`` puts a source where such a source cannot be.
    """
    source = view.source
    if not isinstance(source, SqlSource):
        return
    what = f'The query of feature view "{view.name}"'
    try:
        read = _sources(source.query, source.sources, config, what)
    except DataError:
        return
    fault = query_fault(source.query, read.tables, config, what)
    if fault is not None:
        raise DefinitionError(
            f"{what} cannot run over its sources ({read.location}): {fault}",
            hint="Nothing was registered. Correct the query, or the sources.",
            where=built_at(source) or built_at(view),
        )


def tables_of(query: str, sources: Sequence[FileSource], config: Config, what: str) -> Mapping[str, Any]:
    """Return what a query over files and Delta tables reads, as :class:`~.sql_pieces.SqlPiece` takes it.

    Args:
        query: one SELECT; columns that it cannot mean are not looked at.
        sources: what it reads, by their names.
        config: where they lie in this environment.
        what: what the rows are for, to begin messages.

    Raises:
        DataError: nothing is where a source says.
        ConfigError: ``featurestore.toml`` puts a source where such a source cannot be.
    """
    return _sources(query, sources, config, what).tables


@dataclass(frozen=True)
class _Sources:
    """What a query reads: the files or the dataset for each name, all files and the states of tables, and where."""

    tables: Mapping[str, Any]
    files: list[Path]
    states: list[str]
    location: str


def _sources(query: str, sources: Sequence[FileSource], config: Config, what: str) -> _Sources:
    from featurestore.queries import named_columns  # with a parser of SQL that nothing else here has to wait for

    named = named_columns(query)
    tables: dict[str, Any] = {}
    files: list[Path] = []
    states: list[str] = []
    for one in sources:
        if one.format == "delta":
            snapshot = Snapshot(config.path(path_of(one, config)), what)
            tables[one.name] = snapshot.dataset
            states.append(json.dumps(snapshot.identity(), sort_keys=True))
        else:
            found = _files(one, config)
            tables[one.name] = SourceFiles(
                one.name,
                found,
                columns=named,
                instants=one.timestamp_field,
                partitions=in_partitions(found, config.root),
                what=what,
            )
            files += found
    return _Sources(tables, files, states, ", ".join(f"{one.name} in {path_of(one, config)}" for one in sources))


def file_piece(file: Path, view: FeatureView) -> Piece:
    """Return one file, named by a caller, as a piece without a load id that is read as a FileSource of the view is.

    Raises:
        DataError: it is no .parquet or .csv file, or its first line cannot be read.
    """
    check_file(file, _OR_A_SOURCE.format(file=file))
    return SqlPiece(name=file.name, load_id="", query=_declared(file, view))


def file_load_id(file: Path) -> AbstractContextManager[Callable[[], str]]:
    """Return what yields the id of the load of a file that a caller names; see :func:`~.file_ids.worked_out`.

    Raises:
        DataError: it is no .parquet or .csv file, or cannot be read.
    """
    check_file(file, _OR_A_SOURCE.format(file=file))
    return file_ids.worked_out(file)


def csv_piece(file: Path, declared: Mapping[str, types.DType], what: str) -> Piece:
    """Return a CSV file of rows that are no view's as a piece; columns that are not declared are texts.

    Raises:
        DataError: its first line cannot be read.
        SchemaError: a column is declared as something that no cell can hold.
    """
    return SqlPiece(name=file.name, load_id="", query=declared_scan(file, what, declared))


def check_file(file: Path, instead: str) -> None:
    """Check that a caller's file is one that can be read.

    Args:
        file: the file.
        instead: what to do about a folder.

    Raises:
        DataError: it is not there, or no .parquet or .csv file.
    """
    if not file.exists():
        raise DataError(f"There is no file {file}.", hint="Relative paths start at the folder where this runs.")
    if file.is_dir():
        raise DataError(f"{file} is a folder.", hint=instead)
    if file.suffix.lower() not in (".parquet", ".csv"):
        raise DataError(f"{file} ends in neither .parquet nor .csv.", hint="These two are read.")


def location_of(view: FeatureView, config: Config) -> str:
    """Return where the rows of a view's source lie in this environment, without secrets; empty if it reads none."""
    source = view.source
    if source is None or isinstance(source, PushSource):
        return ""
    read: Sequence[FileSource | QuerySource] = source.sources if isinstance(source, SqlSource) else [source]
    places = []
    for one in read:
        located = config.sources.get(one.name) if one.name else None
        if isinstance(one, QuerySource):
            places.append(f"connection {(located.connection if located is not None else '') or one.connection}")
        else:
            places.append((located.path if located is not None else "") or one.path)
    return ", ".join(places)


def _misplaced(name: str, kind: str, keys: str) -> ConfigError:
    return ConfigError(
        f"[sources.{name}] in featurestore.toml puts {kind} where it cannot be.", hint=f"It takes {keys}, no more."
    )


def path_of(source: FileSource, config: Config) -> str:
    """Return the path or pattern of a source in this environment.

    Raises:
        ConfigError: ``featurestore.toml`` puts the source where such a source cannot be.
    """
    located = config.sources.get(source.name) if source.name else None
    if located is None:
        return source.path
    if not located.path or located.connection or located.db_schema:
        raise _misplaced(source.name, "a FileSource", "path")
    return located.path


def _files(source: FileSource, config: Config) -> list[Path]:
    pattern = path_of(source, config)
    found = sorted(glob.glob(str(config.path(pattern)), recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        raise DataError(
            f'No file matches "{pattern}" (from {config.root}).',
            hint="Check the path; [sources.NAME] in featurestore.toml can put a named source elsewhere.",
        )
    return [Path(file) for file in found]


def in_partitions(files: list[Path], root: Path) -> bool:
    """Whether files lie in folders ``name=value`` of the source; those on the way to it say nothing of its rows."""
    above = root if all(file.is_relative_to(root) for file in files) else Path(os.path.commonpath(files))
    return any("=" in part for file in files for part in file.relative_to(above).parts[:-1])


def _declared(file: Path, view: FeatureView, root: Path | None = None) -> str:
    """Return the query that reads a file of rows for a view, by the types that the view declares."""
    if file.suffix.lower() != ".csv":
        # DuckDB takes any folder on the way that is called name=value for a column, even in place of one that the
        # file has.
        partitions = "true" if root is not None and in_partitions([file], root) else "false"
        return f"SELECT * FROM read_parquet({engine.literal(str(file))}, hive_partitioning = {partitions})"
    declared = view.keys | {one.name: one.dtype for one in view.schema}
    true_from = [name for name in (view.timestamp_field, view.created_timestamp_column) if name is not None]
    return declared_scan(file, f'The rows for feature view "{view.name}"', declared, true_from=true_from)


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
