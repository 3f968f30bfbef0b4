"""Sources as lineage shows them, and the columns that their files have."""

from __future__ import annotations

import csv
import glob
from collections.abc import Callable
from functools import cache
from pathlib import Path

from featurestore.config import Config
from featurestore.definitions import FeatureView, FileSource, PushSource, QuerySource, Source
from featurestore.errors import FeatureStoreError
from featurestore.lineage.graph import Node

#: Returns the columns of a file source where its files lie, or None where they cannot be read.
FileColumns = Callable[[FileSource], "tuple[str, ...] | None"]


def label(source: Source, view: str) -> str:
    """Return what a source is called: its name, its path; the query of a database that has none goes by the view."""
    return source.name or (source.path if isinstance(source, FileSource) else f"query of {view}")


def source_node(source: Source, view: FeatureView) -> Node:
    """Return a source as a node."""
    about = {"type": type(source).__name__}
    if isinstance(source, FileSource):
        about["path"] = source.path
    elif isinstance(source, QuerySource):
        about["connection"] = source.connection
    return Node(kind="source", name=label(source, view.name), about=about)


def column_node(source: Node, column: str) -> Node:
    """Return one column of a source as a node."""
    return Node(kind="source_column", name=f"{source.name}.{column}", parent=source.id)


def read_sources(source: Source | None) -> tuple[Source, ...]:
    """Return what is read where a view has a source: itself; of a query over declared ones, those."""
    match source:
        case None:
            return ()
        case FileSource() | QuerySource() | PushSource() as one:
            return (one,)
        case query:
            return tuple(query.sources)


def file_columns(config: Config) -> FileColumns:
    """Return what tells the columns of files, where this environment has them; each source is looked at once."""

    @cache
    def columns(source: FileSource) -> tuple[str, ...] | None:
        located = config.sources.get(source.name) if source.name else None
        path = config.path(located.path if located is not None and located.path else source.path)
        try:
            return _delta_columns(path) if source.format == "delta" else _columns(path)
        except (OSError, ValueError, csv.Error, FeatureStoreError):
            return None  # what is not there, or not readable, is not known

    return columns


def _columns(pattern: Path) -> tuple[str, ...] | None:
    import pyarrow.parquet as pq

    found: dict[str, None] = {}
    for file in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 - the pattern is absolute
        if file.lower().endswith(".csv"):
            with Path(file).open(encoding="utf-8-sig", newline="") as lines:
                found |= dict.fromkeys(next(csv.reader(lines), []))
        else:
            found |= dict.fromkeys(pq.read_schema(file).names)
    return tuple(found) or None


def _delta_columns(folder: Path) -> tuple[str, ...]:
    from featurestore.offline.sources.delta_source import Snapshot

    return tuple(Snapshot(folder, "The source").dataset.schema.names)
