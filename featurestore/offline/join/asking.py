"""Entity rows in whatever form a user asks with: a frame, a file, a query, or a range of time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore import types
from featurestore.definitions import FeatureService, FileSource, SqlSource
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import DataError, DefinitionError, SchemaError
from featurestore.offline.intake.checks import UNREADABLE
from featurestore.offline.intake.conform import sentence
from featurestore.offline.intake.frames import to_table
from featurestore.offline.join.ranges import rows_in_range
from featurestore.offline.opened import Opened
from featurestore.offline.sources import reading
from featurestore.offline.sources.csv_rows import by_content
from featurestore.offline.tables.arrivals import among, arrivals, rows_until

_QUERY = re.compile(r"\s*(select|with)\s", re.IGNORECASE)
_ONE_OF = "Pass entity_df, or both start and end."


class Asking(Opened):
    """What is asked with, as one table."""

    def entity_table(
        self,
        service: FeatureService,
        entity_df: Any,
        *,
        timestamp_field: str = EVENT_TIMESTAMP,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        as_of: datetime | None = None,
    ) -> pa.Table:
        """Return entity rows as they came, in a table.

        Args:
            service: whose features are asked for.
            entity_df: a frame; the path of a .parquet or .csv file; a query, which is a text that begins with SELECT
                or WITH, over the named FileSources of the project; or None for a range of time.
            timestamp_field: the column of the instants.
            start: the first instant of a range of time; each row of the service's views in it is an entity row.
            end: the first instant after the range.
            as_of: of a range, rows that were loaded later do not count.

        Raises:
            DataError: it is nothing of that, a file or a query cannot be read, or a range is given beside entity_df.
            SchemaError: a range is asked for of views with different keys, or with request fields.
            TimestampError: start or end name no time zone.
        """
        what = f'the entity rows for "{service.name}"'
        if start is not None or end is not None:
            if entity_df is not None:
                raise DataError(f"{sentence(what)} came both as entity_df and as a range of time.", hint=_ONE_OF)
            if start is None or end is None:
                raise DataError(
                    f'The range of time for "{service.name}" has no {"end" if end is None else "start"}.', hint=_ONE_OF
                )
            return self._in_range(service, types.utc(start, "start"), types.utc(end, "end"), timestamp_field, as_of)
        if entity_df is None:
            raise DataError(f'There are no entity rows to ask "{service.name}" for.', hint=_ONE_OF)
        if isinstance(entity_df, str) and _QUERY.match(entity_df):
            entity_df = self.queried(entity_df, service, what)
        elif isinstance(entity_df, (str, os.PathLike)):
            entity_df = self._read(Path(entity_df), service, timestamp_field, what)
        return to_table(entity_df, what)

    def _read(self, file: Path, service: FeatureService, timestamp_field: str, what: str) -> pa.Table:
        if not file.exists():
            raise DataError(
                f"{sentence(what)}: there is no file {file}.",
                hint="Relative paths start at the folder where this runs; a query begins with SELECT or WITH.",
            )
        reading.check_file(file, "Name one file in it.")
        if file.suffix.lower() == ".parquet":
            try:
                return pq.read_table(file, partitioning=None)  # its columns alone, wherever it lies
            except (pa.ArrowException, OSError) as error:
                said = str(error).splitlines()[0].rstrip(".")
                raise DataError(f"{sentence(what)}: {file} cannot be read: {said}.") from error
        # The instants last: a key of that name is a timestamp too, or no instants at all.
        declared = service.keys | {one.name: one.dtype for one in service.request} | {timestamp_field: types.Timestamp}
        with reading.csv_piece(file, declared, sentence(what)).read(self._config, sentence(what)) as rows:
            table = _legible(rows.read_all(), file, what)
        for place, name in enumerate(table.column_names):
            if name not in declared:
                table = table.set_column(place, name, by_content(table.column(name)))
        return table

    def queried(
        self, query: str, service: FeatureService, what: str, *, tables: Mapping[str, Any] | None = None
    ) -> pa.Table:
        """Return the rows of a query over the named FileSources of the project.

        Args:
            query: one SELECT.
            service: whose views' sources it may read too, those of earlier versions among them.
            what: what the rows are for, to begin messages.
            tables: what it may read beside, by name: Arrow tables, or SQL. A source of the project comes first.

        Raises:
            DataError: it is no such query, or cannot be run.
        """
        from featurestore.queries import check_select  # with a parser of SQL that nothing else here has to wait for

        sources = _file_sources([*(one.definition for one in self._registry.list("feature_view")), *service.views])
        others = {name: table for name, table in (tables or {}).items() if name not in sources}
        whose = f"The query of {what}"
        try:
            hint = "It may read the FileSources of the project's views that have a name."
            read = check_select(query, [*sources, *others], whose, hint)
        except DefinitionError as error:  # it is no part of a definition, and has no place in the user's files
            raise DataError(error.message, hint=error.hint) from None
        named = [name for name in read if name in sources]
        for name in named:
            if len(sources[name]) > 1:
                raise DataError(
                    f'{whose} reads "{name}", and two different FileSources have that name.',
                    hint="Give each a name of its own.",
                )
        given = {name: others[name] for name in read if name in others}
        piece = reading.query_piece(query, [sources[name][0] for name in named], self._config, whose, tables=given)
        with piece.read(self._config, whose) as rows:
            return rows.read_all()

    def _in_range(
        self, service: FeatureService, start: datetime, end: datetime, timestamp_field: str, as_of: datetime | None
    ) -> pa.Table:
        if end <= start:
            raise DataError(
                f'The range of time for "{service.name}" ends at {end.isoformat()}, before it starts.',
                hint="Rows from start on and before end are taken.",
            )
        for use in service.uses:
            if use.keys.keys() != service.keys.keys():
                raise SchemaError(
                    f'A range of time needs views with the same join keys; of "{service.name}", '
                    f'"{use.name}" has {_listed(use.keys)}, and all have {_listed(service.keys)}.',
                    hint="Pass the entity rows: entity_df=...",
                )
        for one in service.request:
            if one.default is None:
                raise SchemaError(
                    f'A range of time gives no value of "{one.name}", which "{service.name}" needs with each row.',
                    hint="Pass the entity rows: entity_df=...; or give the request field a default.",
                )
        if timestamp_field in service.keys:
            raise SchemaError(
                f'The instants of a range of time cannot stand in "{timestamp_field}", which is a join key.',
                hint=f'Without timestamp_field they stand in "{EVENT_TIMESTAMP}".',
            )
        files, seen = {}, {}
        for view in service.views:
            table = self.table(view)
            files[view.name] = table.files() if table.exists() else []
            # After the files, so that every load which they hold is in the ledger by now.
            known = ((one.load.load_id, one.first, one.at) for one in arrivals(table, self.loads(view)))
            seen[view.name] = None if as_of is None else among(rows_until(known, types.microseconds(as_of)))
        with self._connect(list(service.views), f'The range of time for "{service.name}"') as connection:
            return rows_in_range(connection, service, files, seen, start, end, timestamp_field)


def _legible(rows: pa.Table, file: Path, what: str) -> pa.Table:
    """Return the rows of a CSV file without the column that tells of cells which are not of their type.

    Raises:
        SchemaError: there is such a cell; the message names the first.
    """
    if UNREADABLE not in rows.column_names:
        return rows
    told = rows.column(UNREADABLE)
    faults = told.combine_chunks().field("reason").drop_null()
    if len(faults):
        number, fault = next(
            (number, one) for number, one in enumerate(told.to_pylist(), start=1) if one["reason"] is not None
        )
        raise SchemaError(
            f"Row {number:,} of {file} cannot be one of {what}: {fault['reason']} ({fault['cells']}).",
            hint=f"Mend the file; {len(faults):,} rows have such a cell.",
        )
    return rows.drop_columns([UNREADABLE])


def _file_sources(views: Iterable[Any]) -> Mapping[str, list[FileSource]]:
    """Return the different FileSources that views read, directly or by a query, by name."""
    found: dict[str, list[FileSource]] = {}
    for view in views:
        for one in view.source.sources if isinstance(view.source, SqlSource) else [view.source]:
            if isinstance(one, FileSource) and one.name and one not in found.setdefault(one.name, []):
                found[one.name].append(one)
    return {name: each for name, each in found.items() if each}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
