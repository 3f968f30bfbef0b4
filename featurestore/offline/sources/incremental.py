"""The next run of a SqlSource over an interval: from where the last one ended up to where its sources reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow.compute as pc

from featurestore.config import Config
from featurestore.definitions import FileSource, SqlSource
from featurestore.errors import SchemaError, TimestampError, closest
from featurestore.offline import engine
from featurestore.offline.intake.checks import latest_event
from featurestore.offline.intake.conform import instants
from featurestore.offline.places import spill_folder
from featurestore.offline.sources.intervals import INSTANTS, Interval, earlier, shown
from featurestore.offline.sources.sql_pieces import QUERY, columns_of, define, unreadable
from featurestore.offline.tables.table import LoadMetadata

_WATERMARK = "timestamp"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run over an interval.

    Attributes:
        interval: the event times of the result that are kept.
        seen: of each source that is cut, SQL that is true for the rows which the query sees.
        newest: up to which instant the sources have rows, as the load's commit keeps it; None if they have none.
        notes: what the user should know.
    """

    interval: Interval
    seen: Mapping[str, str]
    newest: Mapping[str, Any] | None
    notes: tuple[str, ...]


def next_run(
    source: SqlSource, tables: Mapping[str, Any], location: str, last: LoadMetadata | None, config: Config, what: str
) -> Run:
    """Return the run that takes in what came since the last one.

    It ends with the newest row of the source that is behind the others, as further on they do not yet tell the whole,
    and begins ``late_by`` before where the last one ended. A row whose instant lies in the future counts as none: it
    would hide all rows to come.

    Args:
        source: the definition.
        tables: the files or the Arrow dataset of each of its sources.
        location: where they lie in this environment.
        last: the last load of the source; None before the first.
        config: the store's settings.
        what: whose source it is, to begin messages.

    Raises:
        DataError: a source cannot be read.
        SchemaError: no source has its column of instants, or it holds something else.
        TimestampError: the instants of a source name no time zone.
    """
    notes: list[str] = []
    since = None
    if last is not None and last.watermark is not None and _WATERMARK in last.watermark:
        if last.location == location:
            since = datetime.fromisoformat(last.watermark[_WATERMARK])
        else:
            notes.append("everything was computed again, as the source lies elsewhere now")
    latest = latest_event(datetime.now(UTC), config.offline.max_future_seconds)
    with engine.connect(config.offline, spill_folder(config), what) as connection:
        try:
            define(connection, tables, {})
            dtypes = _cut(connection, source, what, notes)
            ends = {name: _end(connection, name, *dtypes[name], since, latest, notes) for name in dtypes}
        except duckdb.Error as error:
            raise unreadable(what, QUERY, error) from error
    newest = _newest(ends, since, notes)
    start = None if since is None else earlier(since, source.late_by)
    end = datetime.min.replace(tzinfo=UTC) if newest is None else newest + timedelta(microseconds=1)
    interval = Interval(start, end)
    return Run(
        interval=interval,
        seen=_seen(source, dtypes, interval),
        newest=None if newest is None else {_WATERMARK: newest.isoformat()},
        notes=tuple(notes),
    )


def run_over(source: SqlSource, tables: Mapping[str, Any], interval: Interval, config: Config, what: str) -> Run:
    """Return the run over one interval, whatever was loaded; it is up to nowhere.

    Raises:
        DataError, SchemaError, TimestampError: as :func:`next_run`.
    """
    notes: list[str] = []
    with engine.connect(config.offline, spill_folder(config), what) as connection:
        try:
            define(connection, tables, {})
            dtypes = _cut(connection, source, what, notes)
        except duckdb.Error as error:
            raise unreadable(what, QUERY, error) from error
    return Run(interval=interval, seen=_seen(source, dtypes, interval), newest=None, notes=tuple(notes))


def _seen(source: SqlSource, dtypes: Mapping[str, tuple[str, str]], interval: Interval) -> dict[str, str]:
    """Return, of each source that is cut, SQL that is true for the rows which a run over an interval sees.

    Args:
        source: the definition; it has a ``lookback``.
        dtypes: of each source that is cut, the column that it is cut by and its type.
        interval: the event times of the result.
    """
    wider = interval.begun_earlier(source.lookback or timedelta(0))
    return {name: wider.condition(engine.identifier(column), dtype) for name, (column, dtype) in dtypes.items()}


def _cut(
    connection: duckdb.DuckDBPyConnection, source: SqlSource, what: str, notes: list[str]
) -> dict[str, tuple[str, str]]:
    """Return the column and its type by which each source is cut; those without it are seen whole, and that is said."""
    found = {}
    for one in source.sources:
        columns = columns_of(connection, one.name)
        dtype = columns.get(one.timestamp_field)
        if dtype is None:
            notes.append(f'source "{one.name}" has no column "{one.timestamp_field}", and was seen whole')
            continue
        _check_instants(one, dtype, what)
        found[one.name] = (one.timestamp_field, dtype)
    if not found:
        one = source.sources[0]
        columns = columns_of(connection, one.name)
        raise SchemaError(
            f'{what} has a lookback, and its source "{one.name}" has no column "{one.timestamp_field}" to go by.',
            hint=f"{closest(one.timestamp_field, columns)} Say which holds the instants: "
            f'FileSource(name="{one.name}", timestamp_field=...).',
        )
    return found


def _check_instants(one: FileSource, dtype: str, what: str) -> None:
    if dtype in INSTANTS:
        return
    said = f'{what}: column "{one.timestamp_field}" of its source "{one.name}"'
    if dtype.startswith("TIMESTAMP"):
        raise TimestampError(
            f"{said} names no time zone, so a run over an interval cannot go by it.",
            hint="Write the instants with their zone, or leave lookback out: the whole query runs then, and may say "
            f"which zone they are in: {one.timestamp_field} AT TIME ZONE 'UTC'.",
        )
    raise SchemaError(
        f"{said} is {dtype}, not a timestamp.", hint=f'Name another: FileSource(name="{one.name}", timestamp_field=...)'
    )


def _end(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    column: str,
    dtype: str,
    since: datetime | None,
    latest: datetime,
    notes: list[str],
) -> datetime | None:
    """Return the newest instant of a source up to ``latest``, looking only at rows from ``since`` on; or None."""
    value = engine.identifier(column)
    reached = Interval(since, latest + timedelta(microseconds=1)).condition(value, dtype)
    found = connection.sql(f"SELECT max({value}) AS newest FROM {engine.identifier(name)} WHERE {reached}")
    stored, _ = instants(found.to_arrow_table().column("newest").combine_chunks(), column, name, true_from=True)
    if since is None:
        nulls = connection.sql(f"SELECT count(*) - count({value}) FROM {engine.identifier(name)}").fetchall()[0][0]
        if nulls:
            notes.append(f'{nulls:,} rows of source "{name}" have no {column}: no run sees them')
    newest: datetime | None = pc.max(stored).as_py()
    return newest


def _newest(ends: Mapping[str, datetime | None], since: datetime | None, notes: list[str]) -> datetime | None:
    """Return up to where all sources have rows, and at least what is loaded; None if one never had any."""
    reached = {name: end if end is not None else since for name, end in ends.items()}
    found = [end for end in reached.values() if end is not None]
    if len(found) < len(reached):
        behind = next(name for name, end in reached.items() if end is None)
        notes.append(f'source "{behind}" has no rows yet, so nothing is computed')
        return since
    newest = min(found)
    if newest < max(found):
        behind = next(name for name, end in reached.items() if end == newest)
        notes.append(f'computed up to {shown(newest)}, where source "{behind}" ends')
    return newest
