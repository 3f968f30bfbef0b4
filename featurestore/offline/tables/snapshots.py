"""What a version of a table consists of: data files, and what is known of each without reading it."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import OfflineStoreError
from featurestore.storage import StoragePath
from featurestore.storage.parquet import read_metadata
from featurestore.storage.places import move_file
from featurestore.types import microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNMARKED = len(f"part-{uuid.UUID(int=0)}.parquet")


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file that no reader sees yet; ``stats`` are Delta's statistics of it."""

    path: StoragePath
    rows: int
    stats: str

    def marked(self, marks: str) -> StagedFile:
        """Rename the file so that its name has the marks that :class:`DataFile` reads, and return it."""
        path = self.path.with_name(new_name(marks))
        move_file(self.path, path)
        return StagedFile(path, self.rows, self.stats)


def discard(staged: Iterable[StagedFile | None]) -> None:
    """Remove files that are not to be published; what cannot be removed is left to ``gc``, as nothing names it."""
    for one in staged:
        if one is not None:
            with contextlib.suppress(OSError, OfflineStoreError):
                one.path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A Parquet file of a snapshot.

    Attributes:
        place: the file.
        rows: how many.
        size: bytes.
        first: the oldest event time, microseconds since 1970.
        last: the newest.
    """

    place: StoragePath
    rows: int
    size: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """Its name within the table's folder."""
        return self.place.name

    @property
    def path(self) -> str:
        """The whole path, as DuckDB reads it."""
        return str(self.place)

    @property
    def ordered(self) -> bool:
        """Whether its rows stand by key, and of each key by event time; its name says so."""
        return "s" in marks_of(self.name)

    def staged(self) -> StagedFile:
        """Return the file as one that a commit may add again."""
        return StagedFile(self.place, self.rows, statistics(self.rows, self.first, self.last))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of one version of a table, by name."""

    version: int
    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        """The rows of all files."""
        return sum(one.rows for one in self.files)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(one.size for one in self.files)


def snapshot_of(found: pa.Table, version: int, folder: StoragePath) -> Snapshot:
    """Return the files of a version of the table in a folder, from Delta's list of what was added to it."""
    first, last = f"min.{EVENT_TIMESTAMP}", f"max.{EVENT_TIMESTAMP}"
    for name in (first, last):
        if name in found.column_names:
            place = found.schema.get_field_index(name)
            found = found.set_column(place, name, found.column(name).cast(pa.int64()))
        else:
            found = found.append_column(name, pa.nulls(len(found), pa.int64()))
    files = [
        DataFile(
            place=folder / one["path"],
            rows=one["num_records"],
            size=one["size_bytes"],
            first=span[0],
            last=span[1],
        )
        for one in found.to_pylist()
        for span in [(one[first], one[last]) if one[first] is not None else _span(folder / one["path"])]
    ]
    return Snapshot(version=version, files=tuple(sorted(files, key=lambda one: one.name)))


def _span(file: StoragePath) -> tuple[int, int]:
    """Return the oldest and the newest event time of a file, from its footer.

    Delta does not tell them of tables with many columns that earlier releases made.

    Raises:
        OfflineStoreError: the file cannot be read.
    """
    try:
        footer = read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        raise OfflineStoreError(
            f"The file {file} cannot be read: {error}", hint="If it is gone or damaged, bring it back from a backup."
        ) from error
    place = next(number for number in range(footer.num_columns) if footer.schema.column(number).path == EVENT_TIMESTAMP)
    groups = [footer.row_group(number).column(place).statistics for number in range(footer.num_row_groups)]
    return min(microseconds(one.min) for one in groups), max(microseconds(one.max) for one in groups)


def marks_of(name: str) -> str:
    """Return the marks in the name of a data file."""
    # Delta keeps nothing else of ours with a file: part-UUID.parquet, or part-UUID-us.parquet.
    return name.removesuffix(".parquet").rpartition("-")[2] if len(name) > _UNMARKED else ""


def new_name(marks: str = "") -> str:
    """Return a name for a new data file; the marks are those that :class:`DataFile` reads."""
    return f"part-{uuid.uuid4()}{'-' if marks else ''}{marks}.parquet"


def statistics(rows: int, first: int, last: int) -> str:
    """Return Delta's statistics of a file: its rows, and the event times from ``first`` to ``last``."""
    return json.dumps(
        {
            "numRecords": rows,
            "minValues": {EVENT_TIMESTAMP: _iso(first)},
            "maxValues": {EVENT_TIMESTAMP: _iso(last)},
        }
    )


def _iso(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
