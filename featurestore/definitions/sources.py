"""Where a view's rows come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featurestore.definitions.arguments import check_list, check_text
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, check_name, check_unique
from featurestore.errors import DefinitionError, closest


def _check_column_text(value: object, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"{what} is {value!r}, which is not the name of a column.")


def _check_common(source: FileSource | SqlSource | PushSource, what: str) -> None:
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
    """Parquet or CSV files.

    Attributes:
        path: a file or a glob; relative to the feature store's folder. It is part of the content hash as written;
            ``[sources.NAME]`` in ``featurestore.toml`` puts the files elsewhere without a new version.
        timestamp_field: the column that says when a row was true.
        created_timestamp_column: the column that says when the source wrote a row, if it has one.
        name: lets SQL sources and ``featurestore.toml`` refer to it.
    """

    path: str
    timestamp_field: str = EVENT_TIMESTAMP
    created_timestamp_column: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise DefinitionError(f"The path of a FileSource is {self.path!r}.", hint="Name a file or a glob.")
        if not self.path.lower().endswith((".parquet", ".csv")):
            raise DefinitionError(
                f'The FileSource "{self.path}" ends in neither .parquet nor .csv.',
                hint='For a folder: "folder/*.parquet".',
            )
        _check_common(self, f'The FileSource "{self.path}"')

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        return {
            "kind": "file",
            "path": self.path,
            "timestamp_field": self.timestamp_field,
            "created_timestamp_column": self.created_timestamp_column,
            "name": self.name,
        }


@dataclass(frozen=True, kw_only=True)
class SqlSource:
    """A query over declared sources, run by the offline engine: batch feature engineering.

    Attributes:
        query: one SELECT; it names its sources as tables.
        sources: the :class:`FileSource` objects that it names.
        timestamp_field: the column of its result that says when a row was true, and so from when on it may be
            joined. A figure over flights is true once the last of them has landed, not when it departed.
        created_timestamp_column: the column that says when the row was written, if there is one.
        name: lets ``featurestore.toml`` refer to it.
    """

    query: str
    sources: Sequence[FileSource]
    timestamp_field: str = EVENT_TIMESTAMP
    created_timestamp_column: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
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
        object.__setattr__(self, "sources", sources)

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        return {
            "kind": "sql",
            "query": self.query.strip(),
            "sources": [source.spec() for source in self.sources],
            "timestamp_field": self.timestamp_field,
            "created_timestamp_column": self.created_timestamp_column,
            "name": self.name,
        }


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


Source = FileSource | SqlSource | PushSource

_KINDS = {"file": FileSource, "sql": SqlSource, "push": PushSource}


def source_from_spec(spec: Mapping[str, Any]) -> Source:
    """Return the source that ``spec`` came from.

    Raises:
        DefinitionError: the kind is unknown, as when a newer release wrote it.
    """
    values = dict(spec)
    kind = values.pop("kind")
    if kind not in _KINDS:
        raise DefinitionError(f'There is no kind of source "{kind}".', hint=closest(kind, _KINDS))
    if kind == "sql":
        nested = [source_from_spec(inner) for inner in values.pop("sources")]
        return SqlSource(sources=[source for source in nested if isinstance(source, FileSource)], **values)
    source: Source = _KINDS[kind](**values)
    return source
