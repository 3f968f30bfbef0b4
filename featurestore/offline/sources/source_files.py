"""The files of a source that a query reads as one table, which have to agree on what its columns are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import DataError, SchemaError
from featurestore.offline import engine
from featurestore.offline.sources.csv_rows import header_of
from featurestore.offline.sources.csv_types import mixed_zones, typed_scan

#: What a column can be in several files at once, since one of them holds the values of all.
_NUMBER, _DATE, _INSTANT, _NAIVE, _NULL = "a number", "a date", "an instant with a time zone", "an instant", "null"
#: How many files a note names.
_NAMED = 3


class SourceFiles:
    """The files of one source, as one table; DuckDB alone would make nulls, or UTC, of what they differ in.

    Nothing is read before :meth:`scan`, as most runs find that nothing is new.

    Args:
        name: the source's.
        files: all Parquet, or all CSV.
        columns: the names that the query may mean, in lower case; None if it may mean any. What it does not mean is
            not looked at; but the instants are.
        instants: the column of the instants, if there is one.
        partitions: whether folders ``name=value`` give columns.
        what: whose files they are, to begin messages.

    Attributes:
        notes: what the user should know, once :meth:`scan` was called.
    """

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        *,
        columns: frozenset[str] | None,
        instants: str,
        partitions: bool,
        what: str,
    ) -> None:
        self._name = name
        self._files = files
        self._columns = None if columns is None else columns | {instants.casefold()}
        self._instants = instants
        self._partitions = partitions
        self._what = what
        self._scan = ""
        self.notes: tuple[str, ...] = ()

    def scan(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Return the query that reads them.

        Raises:
            DataError: a file cannot be read.
            SchemaError: a file has not a column that older ones have, or has it as something else.
            TimestampError: in some files the instants of a column name their time zone, and in others they do not.
            duckdb.Error: a line of a CSV file is broken.
        """
        if not self._scan:
            self._scan = self._csv(connection) if self._files[0].suffix.lower() == ".csv" else self._parquet()
        return self._scan

    def _csv(self, connection: duckdb.DuckDBPyConnection) -> str:
        headers = {file: header_of(file, self._what) for file in self._files}
        self._check_present(headers)
        return typed_scan(
            connection,
            headers,
            self._is_read,
            self._what,
            instants=self._instants,
            partitions=self._partitions,
        )

    def _parquet(self) -> str:
        schemas = {file: self._schema(file) for file in self._files}
        self._check_present({file: schema.names for file, schema in schemas.items()})
        self._check_kinds(schemas)
        listed = ", ".join(engine.literal(str(file)) for file in self._files)
        # DuckDB takes any folder on the way that is called name=value for a column, even in place of one of the file's.
        partitions = str(self._partitions).lower()
        return f"SELECT * FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = {partitions})"

    def _schema(self, file: Path) -> pa.Schema:
        try:
            return pq.read_schema(file)
        except (OSError, pa.ArrowException) as error:
            said = str(error).splitlines()[0].rstrip(".")
            raise DataError(f"{self._what}: {file.name} cannot be read: {said}.") from error

    def _is_read(self, column: str) -> bool:
        return self._columns is None or column.casefold() in self._columns

    def _check_present(self, columns: Mapping[Path, Sequence[str]]) -> None:
        """Refuse a file that has lost a column; one that others gained is null in the files before them, and noted.

        Which file is newer, its time of change says: names need not stand in the order in which files came.
        """
        order = sorted(self._files, key=lambda file: (file.stat().st_mtime_ns, file.name))
        has = {file: {name.casefold() for name in names} for file, names in columns.items()}
        notes = []
        for name in dict.fromkeys(name for file in order for name in columns[file] if self._is_read(name)):
            lacking = [file for file in order if name.casefold() not in has[file]]
            if not lacking:
                continue
            first = next(file for file in order if name.casefold() in has[file])
            lost = [file for file in lacking if order.index(file) > order.index(first)]
            if lost:
                raise SchemaError(
                    f'{self._what}: {lost[0].name} has no column "{name}", which the older file {first.name} has.',
                    hint="Write the column into the file; where it has no values, as nulls.",
                )
            notes.append(
                f'source "{self._name}": column "{name}" is null in the rows of {len(lacking):,} older '
                f"{'file that has' if len(lacking) == 1 else 'files that have'} none ({_listed(lacking)})"
            )
        self.notes = tuple(notes)

    def _check_kinds(self, schemas: Mapping[Path, pa.Schema]) -> None:
        """Refuse files whose columns of one name hold different things."""
        known: dict[str, tuple[str, Path]] = {}
        for file, schema in schemas.items():
            for column in schema:
                kind = _kind(column.type)
                if not self._is_read(column.name) or kind == _NULL:
                    continue
                before, other = known.setdefault(column.name.casefold(), (kind, file))
                if before == kind:
                    continue
                if {before, kind} == {_NAIVE, _INSTANT}:
                    naive, zoned = (file, other) if kind == _NAIVE else (other, file)
                    raise mixed_zones(self._what, column.name, naive=naive, zoned=zoned)
                if {before, kind} not in ({_DATE, _INSTANT}, {_DATE, _NAIVE}):
                    raise SchemaError(
                        f'{self._what}: column "{column.name}" of {file.name} is {column.type}, and that of '
                        f"{other.name} {schemas[other].field(_spelt(schemas[other], column.name)).type}.",
                        hint="Write the files anew with one type; a query could not tell them apart.",
                    )
                # A date is an instant's midnight: what the instants say of their zone holds for later files.
                known[column.name.casefold()] = (kind, file) if before == _DATE else (before, other)


def _spelt(schema: pa.Schema, name: str) -> str:
    return str(next(one for one in schema.names if one.casefold() == name.casefold()))


def _kind(dtype: pa.DataType) -> str:
    if isinstance(dtype, pa.DictionaryType):
        dtype = dtype.value_type
    if pa.types.is_null(dtype):
        return _NULL
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype):
        return _NUMBER
    if pa.types.is_date(dtype):
        return _DATE
    if pa.types.is_timestamp(dtype):
        return _NAIVE if dtype.tz is None else _INSTANT
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return "text"
    if pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return "bytes"
    if pa.types.is_time(dtype):
        return "a time"
    return "nested" if pa.types.is_nested(dtype) else str(dtype)


def _listed(files: Sequence[Path]) -> str:
    named = ", ".join(file.name for file in files[:_NAMED])
    return named if len(files) <= _NAMED else f"{named} and {len(files) - _NAMED:,} more"
