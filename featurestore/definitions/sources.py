"""Where a view's rows come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from featurestore.definitions.arguments import check_duration, check_list, check_text
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, check_name, check_unique
from featurestore.errors import DefinitionError, closest
from featurestore.places import remember


def _check_column_text(value: object, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"{what} is {value!r}, which is not the name of a column.")


def _check_common(source: Source, what: str) -> None:
    check_text(source.name, what, "name")
    if source.name:
        check_name(source.name, "a source")
    _check_column_text(source.timestamp_field, f"The timestamp_field of {what[:1].lower()}{what[1:]}")
    if source.created_timestamp_column is not None:
        _check_column_text(
            source.created_timestamp_column, f"The created_timestamp_column of {what[:1].lower()}{what[1:]}"
        )


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """Parquet or CSV files, or a Delta table.

    A Delta table is read by version: a load takes the files that were added since the last one while the table's log
    says that nothing else happened, and else the whole table.

    Attributes:
        path: a file or a glob, or the folder of a Delta table; relative to the feature store's folder. It is part of
            the content hash as written; ``[sources.NAME]`` in ``featurestore.toml`` puts the files elsewhere without a
            new version.
        timestamp_field: the column that says when a row was true.
        created_timestamp_column: the column that says when the source wrote a row, if it has one.
        name: lets SQL sources and ``featurestore.toml`` refer to it.
        format: ``"delta"`` for a Delta table; the end of the path says ``"parquet"`` or ``"csv"``.
    """

    path: str
    timestamp_field: str = EVENT_TIMESTAMP
    created_timestamp_column: str | None = None
    name: str = ""
    format: str = ""

    def __post_init__(self) -> None:
        remember(self)
        if not isinstance(self.path, str) or not self.path:
            raise DefinitionError(f"The path of a FileSource is {self.path!r}.", hint="Name a file or a glob.")
        what = f'The FileSource "{self.path}"'
        if self.format not in ("", "parquet", "csv", "delta"):
            raise DefinitionError(
                f"{what} has format={self.format!r}.", hint='It is "parquet", "csv" or "delta"; "" goes by the path.'
            )
        if self.format != "delta":
            suffix = self.path.rpartition(".")[2].lower()
            if suffix not in ("parquet", "csv"):
                raise DefinitionError(
                    f"{what} ends in neither .parquet nor .csv.",
                    hint='For a folder: "folder/*.parquet"; for the folder of a Delta table: format="delta".',
                )
            if self.format not in ("", suffix):
                raise DefinitionError(f'{what} has format="{self.format}".', hint="The end of its path says another.")
        elif any(sign in self.path for sign in "*?["):
            raise DefinitionError(f"{what} is a pattern.", hint="A Delta table is one folder: name it.")
        _check_common(self, what)

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        spec = {
            "kind": "file",
            "path": self.path,
            "timestamp_field": self.timestamp_field,
            "created_timestamp_column": self.created_timestamp_column,
            "name": self.name,
        }
        # What the path says already is not said twice: so it was before there was a format.
        return spec | ({"format": self.format} if self.format == "delta" else {})


@dataclass(frozen=True, kw_only=True)
class SqlSource:
    """A query over declared sources, run by the offline engine: batch feature engineering.

    Without ``lookback`` the whole query runs whenever a file of its sources is new. With it a run covers an interval:
    it goes up to where the sources have rows by now, and begins ``late_by`` before where the last run ended, the first
    one at the beginning. Rows of the result in [from, to) are kept, by ``timestamp_field``; of each source the query
    sees the rows in [from - lookback, to), by the source's own ``timestamp_field``. So a figure at t may depend on
    source rows from ``t - lookback`` to t, and on no others. A source without that column is seen whole.

    Attributes:
        query: one SELECT; it names its sources as tables.
        sources: the :class:`FileSource` objects that it names.
        timestamp_field: the column of its result that says when a row was true, and so from when on it may be
            joined. A figure over flights is true once the last of them has landed, not when it departed.
        created_timestamp_column: the column that says when the row was written, if there is one.
        name: lets ``featurestore.toml`` refer to it.
        lookback: makes the source incremental: how far back of a row of the result the source rows lie that it is
            made of. Seven days for a trailing figure over seven days; zero for a query that looks at one row each.
        late_by: how much later than newer ones a source row may come. Rows that come later still take a backfill.
    """

    query: str
    sources: Sequence[FileSource]
    timestamp_field: str = EVENT_TIMESTAMP
    created_timestamp_column: str | None = None
    name: str = ""
    lookback: timedelta | None = None
    late_by: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        remember(self)
        if not isinstance(self.query, str) or not self.query.strip():
            raise DefinitionError("The query of a SqlSource is empty.", hint="Write one SELECT.")
        sources = check_list(self.sources, "A SqlSource", "sources")
        if not sources:
            raise DefinitionError(
                "A SqlSource names no sources.", hint="List the FileSource objects that its query reads."
            )
        for source in sources:
            if not isinstance(source, FileSource) or not source.name:
                raise DefinitionError(
                    f"A SqlSource reads {source!r}, which has no name.",
                    hint='Give it one: FileSource(name="flights", ...).',
                )
        check_unique((source.name for source in sources), "A SqlSource")
        _check_common(self, "A SqlSource")
        what = "A SqlSource" if not self.name else f'The SqlSource "{self.name}"'
        hint = "It is 0 or more, and 100 years at most."
        check_duration(self.late_by, what, "late_by", least=timedelta(0), hint=hint)
        if self.lookback is not None:
            check_duration(self.lookback, what, "lookback", least=timedelta(0), hint=hint)
        elif self.late_by:
            raise DefinitionError(
                f"{what} has late_by={self.late_by!r}, and no lookback.",
                hint="Add it, lookback=timedelta(0) if no row looks back; without one the whole query runs each time.",
            )
        object.__setattr__(self, "sources", sources)

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        spec: dict[str, Any] = {
            "kind": "sql",
            "query": self.query.strip(),
            "sources": [source.spec() for source in self.sources],
            "timestamp_field": self.timestamp_field,
            "created_timestamp_column": self.created_timestamp_column,
            "name": self.name,
        }
        if self.lookback is not None:
            spec["lookback_us"] = self.lookback // timedelta(microseconds=1)
        if self.late_by:
            spec["late_by_us"] = self.late_by // timedelta(microseconds=1)
        return spec


@dataclass(frozen=True, kw_only=True)
class QuerySource:
    """A query that the user's own database runs; its rows are streamed into the view's table.

    With ``incremental_by`` a load asks only for rows from the newest value that the last load saw, less ``lookback``.
    Rows at that value come again: they are duplicates, and of the same row the last one loaded counts. A row whose
    transaction began early and ended late becomes visible with a value that lies behind: let ``lookback`` be longer
    than your longest transaction, or such rows are never read.

    Attributes:
        query: one SELECT in the database's own SQL.
        connection: ``[connections.NAME]`` in ``featurestore.toml`` says which database that is.
        timestamp_field: the column of its result that says when a row was true.
        created_timestamp_column: the column that says when the row was written, if there is one.
        incremental_by: a column of its result that never decreases as rows are added or changed, of timestamps with a
            zone, dates or integers; without one every load reads everything.
        lookback: how far behind the newest value a load begins: a timedelta, or an integer where the column is one.
        name: lets ``featurestore.toml`` refer to it.
    """

    query: str
    connection: str
    timestamp_field: str = EVENT_TIMESTAMP
    created_timestamp_column: str | None = None
    incremental_by: str | None = None
    lookback: timedelta | int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        remember(self)
        what = "A QuerySource" if not self.name else f'The QuerySource "{self.name}"'
        if not isinstance(self.query, str) or not self.query.strip(" \t\r\n;"):
            raise DefinitionError(f"The query of {what[:1].lower()}{what[1:]} is empty.", hint="Write one SELECT.")
        if not isinstance(self.connection, str) or not self.connection:
            raise DefinitionError(
                f"{what} has connection={self.connection!r}.",
                hint='Name a section of featurestore.toml: connection="warehouse" is [connections.warehouse].',
            )
        _check_common(self, what)
        if self.incremental_by is not None:
            _check_column_text(self.incremental_by, f"The incremental_by of {what[:1].lower()}{what[1:]}")
        if self.lookback is not None:
            self._check_lookback(what, self.lookback)

    def _check_lookback(self, what: str, lookback: timedelta | int) -> None:
        if self.incremental_by is None:
            raise DefinitionError(f"{what} has a lookback, and no incremental_by.", hint="Add it, or leave both out.")
        if isinstance(lookback, int) and not isinstance(lookback, bool):
            if lookback < 0:
                raise DefinitionError(f"{what} has lookback={lookback}.", hint="It is 0 or more.")
        else:
            hint = "It is 0 or more, and 100 years at most."
            check_duration(lookback, what, "lookback", least=timedelta(0), hint=hint)

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        spec: dict[str, Any] = {
            "kind": "query",
            "query": self.query.strip(),
            "connection": self.connection,
            "timestamp_field": self.timestamp_field,
            "created_timestamp_column": self.created_timestamp_column,
            "name": self.name,
        }
        if self.incremental_by is not None:
            spec["incremental_by"] = self.incremental_by
        if isinstance(self.lookback, timedelta):
            spec["lookback_us"] = self.lookback // timedelta(microseconds=1)
        elif self.lookback is not None:
            spec["lookback"] = self.lookback
        return spec


@dataclass(frozen=True, kw_only=True)
class PushSource:
    """Rows that applications push; there is nothing to read.

    Attributes:
        name: its name.
        timestamp_field: the column of pushed rows that says when they were true.
        created_timestamp_column: the column that says when the source wrote them, if there is one.
    """

    name: str
    timestamp_field: str = EVENT_TIMESTAMP
    created_timestamp_column: str | None = CREATED_TIMESTAMP

    def __post_init__(self) -> None:
        remember(self)
        check_name(self.name, "a source")
        _check_common(self, f'The PushSource "{self.name}"')

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        return {
            "kind": "push",
            "name": self.name,
            "timestamp_field": self.timestamp_field,
            "created_timestamp_column": self.created_timestamp_column,
        }


Source = FileSource | SqlSource | QuerySource | PushSource

_KINDS = {"file": FileSource, "sql": SqlSource, "query": QuerySource, "push": PushSource}


def source_from_spec(spec: Mapping[str, Any]) -> Source:
    """Return the source that ``spec`` came from.

    Raises:
        DefinitionError: the kind is unknown, as when a newer release wrote it.
    """
    values = dict(spec)
    kind = values.pop("kind")
    if kind not in _KINDS:
        raise DefinitionError(f'There is no kind of source "{kind}".', hint=closest(kind, _KINDS))
    for name in ("lookback", "late_by"):
        if f"{name}_us" in values:
            values[name] = timedelta(microseconds=values.pop(f"{name}_us"))
    if kind == "sql":
        nested = [source_from_spec(inner) for inner in values.pop("sources")]
        return SqlSource(sources=[source for source in nested if isinstance(source, FileSource)], **values)
    source: Source = _KINDS[kind](**values)
    return source
