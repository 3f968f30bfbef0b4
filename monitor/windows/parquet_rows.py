"""Parquet files, of which those are opened that have rows of an interval: their footers say which.

Footers are kept in memory, so a run reads those of new files only, and a window opens its own files and no others.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.errors import DataError, MonitorError
from featurestore.offline.engine import identifier, literal
from featurestore.offline.sources.intervals import Interval
from featurestore.types import microseconds
from monitor.windows.base import FIRST_INSTANT
from monitor.windows.rows import Rows

#: Footers that are kept in memory; one has some hundred bytes.
_FOOTERS = 1 << 17
#: Microseconds in one unit of a column of instants, as a fraction, by its type.
_PER_UNIT = {
    "date32[day]": (86_400_000_000, 1),
    "timestamp[ms, tz=UTC]": (1000, 1),
    "timestamp[us, tz=UTC]": (1, 1),
    "timestamp[ns, tz=UTC]": (1, 1000),
}
#: So long a listing of files that are merged holds: much shorter than they stay.
_FRESH_SECONDS = 120.0
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file's footer says.

    Attributes:
        columns: its columns.
        first: its first instant, microseconds since 1970, or the least number if that is not known.
        last: its last one, or the greatest number.
        undated: whether some instants may be null.
        kinds: the least and the greatest text in the column that tells streams apart, where both are known.
    """

    columns: pa.Schema
    first: int
    last: int
    undated: bool
    kinds: tuple[str, str] | None


class ParquetRows(Rows):
    """The rows of Parquet files.

    A column that only some files have is null in the rows of the others. One that has types in them which do not go
    together, numbers and lists, comes as text wherever files of both are read at once.

    Args:
        pattern: a glob of the files; files whose names begin with a dot are still being written.
        time_column: the column of the instants.
        damaged: the error to raise of a file that is no Parquet file.
        kind: a column of texts that tells streams apart which share files.
        text: what the stream's rows have there; "" for the rows of all.
        required: whether there have to be files.
        partitions: says of files whether folders ``name=value`` on the way to them give columns; None for never.
        counted: says of files which count, where some are merged into others while they are read, and go some minutes
            later; None where none are.
    """

    def __init__(
        self,
        pattern: str,
        time_column: str,
        *,
        damaged: Callable[[Path], MonitorError],
        kind: str = "",
        text: str = "",
        required: bool = False,
        partitions: Callable[[list[Path]], bool] | None = None,
        counted: Callable[[list[str]], list[str]] | None = None,
    ) -> None:
        self._pattern = pattern
        self._time = time_column
        self._damaged = damaged
        self._kind = kind
        self._text = text
        self._required = required
        self._has_partitions = partitions
        self._partitions = False
        self._counted = counted
        self._files: list[str] | None = None
        self._listed_at = 0.0
        self._footers: list[Footer] = []
        self._first = self._last = np.zeros(0, np.int64)
        self._scanned: list[str] = []

    def refresh(self) -> None:
        """Look at what is there by now.

        Raises:
            MonitorError: a file is damaged.
            DataError: there is none, and there has to be.
        """
        self._listed_at = time.monotonic()
        found = [(file, self._footer(file)) for file in self.listing()]
        if not found and self._required:
            raise DataError(f'No file matches "{self._pattern}".', hint="Check the path of the stream.")
        mine = [(file, footer) for file, footer in found if footer is not None and self._is_mine(footer)]
        self._files = [file for file, _ in mine]
        self._footers = [footer for _, footer in mine]
        if self._has_partitions is not None and mine:
            self._partitions = self._has_partitions([Path(file) for file in self._files])
        self._first = np.array([one.first for one in self._footers], np.int64)
        self._last = np.array([one.last for one in self._footers], np.int64)

    def listing(self) -> list[str]:
        """Return the files there are, in an order that is always the same."""
        found = sorted(
            file
            for file in glob.glob(self._pattern, recursive=True)  # noqa: PTH207 - the pattern may be absolute
            if not os.path.basename(file).startswith(".")  # noqa: PTH119 - of very many
        )
        return found if self._counted is None else self._counted(found)

    def kinds(self) -> list[str] | None:
        """Return the texts of the column that tells streams apart, if the footers say them all."""
        found = [one.kinds for one in self._footers]
        known = {one[0] for one in found if one is not None and one[0] == one[1]}
        return sorted(known) if len(found) == sum(one is not None and one[0] == one[1] for one in found) else None

    def _is_mine(self, footer: Footer) -> bool:
        if not self._text or footer.kinds is None:
            return True
        return footer.kinds[0] <= self._text <= footer.kinds[1]

    def _footer(self, file: str) -> Footer | None:
        try:
            info = os.stat(file)  # noqa: PTH116 - of very many
            return _read_footer(file, info.st_mtime_ns, info.st_size, self._time, self._kind)
        except FileNotFoundError:  # cleared away since it was listed
            return None
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(Path(file)) from error

    def sql(self, cursor: duckdb.DuckDBPyConnection, interval: Interval) -> str:  # noqa: ARG002 - no view is needed
        """See :meth:`~monitor.windows.rows.Rows.sql`."""
        return self.scan(interval)

    def scan(self, interval: Interval) -> str:
        """Return a SELECT of all rows of an interval, and perhaps more, that any connection can run."""
        return self._scan(self._within(interval))

    def fault(self) -> MonitorError | None:
        """Return what is wrong with the files that were read last; see :meth:`~monitor.windows.rows.Rows.fault`."""
        for file in self._scanned:
            try:
                with pq.ParquetFile(file) as opened:
                    for _ in opened.iter_batches():
                        pass
            except FileNotFoundError:
                continue
            except (OSError, pa.ArrowException):
                return self._damaged(Path(file))
        return None

    def gone(self, interval: Interval) -> bool:
        """Return whether a file with rows of an interval is no longer there."""
        places = self._within(interval)
        return not all(os.path.exists(self._files[at]) for at in places if self._files)  # noqa: PTH110 - of very many

    def files(self, interval: Interval) -> list[str]:
        """Return the files that may have rows of an interval."""
        places = self._within(interval)
        return [self._files[at] for at in places] if self._files else []

    def _within(self, interval: Interval) -> NDArray[np.int64]:
        self._look()
        start = _LEAST if interval.start is None else microseconds(interval.start)
        end = _MOST if interval.end is None else microseconds(interval.end)
        return np.flatnonzero((self._first < end) & (self._last >= start))

    def _look(self) -> None:
        """Look at what is there, unless that is known, and so fresh that none of it can have gone."""
        old = self._counted is not None and time.monotonic() - self._listed_at > _FRESH_SECONDS
        if self._files is None or old:
            self.refresh()

    def undated_sql(self, cursor: duckdb.DuckDBPyConnection) -> str:  # noqa: ARG002 - no view is needed
        """See :meth:`~monitor.windows.rows.Rows.undated_sql`."""
        self._look()
        early = self._first < microseconds(FIRST_INSTANT)
        return self._scan(np.flatnonzero(early | np.array([one.undated for one in self._footers], np.bool_)))

    def schema(self, cursor: duckdb.DuckDBPyConnection) -> pa.Schema:  # noqa: ARG002 - the footers say it
        """Return the columns; of one that has several types that of the newest file."""
        self._look()
        columns: dict[str, pa.DataType] = {}
        for at in np.argsort(self._last, kind="stable"):
            columns.update({one.name: one.type for one in self._footers[at].columns})
        return pa.schema(list(columns.items()))

    def _scan(self, places: NDArray[np.int64]) -> str:
        assert self._files is not None  # noqa: S101 - it was refreshed
        self._scanned = [self._files[at] for at in places]
        if not self._scanned:
            return self._nothing()
        groups: dict[pa.Schema, list[str]] = {}
        for at in places:
            groups.setdefault(self._footers[at].columns, []).append(self._files[at])
        changed = _changed(list(groups))
        if not changed:
            query = self._read(self._scanned)
        else:
            parts = []
            for columns, files in groups.items():
                texts = [
                    f"CAST({identifier(name)} AS VARCHAR) AS {identifier(name)}"
                    for name in columns.names
                    if name in changed
                ]
                replaced = f" REPLACE ({', '.join(texts)})" if texts else ""
                parts.append(f"SELECT *{replaced} FROM ({self._read(files)})")
            query = " UNION ALL BY NAME ".join(parts)
        if not self._text:
            return query
        return f"SELECT * FROM ({query}) WHERE {identifier(self._kind)} = {literal(self._text)}"

    def _read(self, files: Sequence[str]) -> str:
        # By name: versions of one service have different columns, and share a folder.
        listed = ", ".join(literal(file) for file in files)
        partitions = str(self._partitions).lower()
        return f"SELECT * FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = {partitions})"

    def _nothing(self) -> str:
        """Return a SELECT of no rows, with the columns of the newest file."""
        if self._files:
            return f"{self._read([self._files[int(np.argmax(self._last))]])} LIMIT 0"
        return f"SELECT CAST(NULL AS TIMESTAMPTZ) AS {identifier(self._time)} LIMIT 0"


def _changed(schemas: Sequence[pa.Schema]) -> frozenset[str]:
    """Return the columns whose types in several files do not go together."""
    kinds: dict[str, set[str]] = {}
    for schema in schemas:
        for one in schema:
            kind = _kind(one.type)
            if kind:
                kinds.setdefault(one.name, set()).add(kind)
    return frozenset(name for name, found in kinds.items() if len(found) > 1)


def _kind(dtype: pa.DataType) -> str:
    """Return what DuckDB reads as one column without loss; "" for nulls, which go with all."""
    if isinstance(dtype, pa.DictionaryType):
        return _kind(dtype.value_type)
    if pa.types.is_null(dtype):
        return ""
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype):
        return "number"
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return "text"
    if pa.types.is_timestamp(dtype):
        return "local time" if dtype.tz is None else "instant"
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        return f"list of {_kind(dtype.value_type)}"
    return str(dtype)


@lru_cache(maxsize=_FOOTERS)
def _read_footer(file: str, changed_ns: int, size: int, time_column: str, kind: str) -> Footer:  # noqa: ARG001
    """Return what a footer says; the time of change and the size tell a file that was written anew."""
    read = pq.read_metadata(file)
    schema = _interned(read.schema.to_arrow_schema().remove_metadata())
    times = list(_statistics(read, time_column))
    whole = bool(times) and all(one is not None and one.has_min_max for one in times)
    scale = _PER_UNIT.get(str(schema.field(time_column).type)) if time_column in schema.names else None
    instants = [_microseconds(bound, scale) for one in times if whole and scale for bound in (one.min_raw, one.max_raw)]
    known = bool(instants)
    kinds = list(_statistics(read, kind)) if kind else []
    told = bool(kinds) and all(one is not None and one.has_min_max and one.null_count == 0 for one in kinds)
    return Footer(
        columns=schema,
        first=min(instants) if known else _LEAST,
        last=max(instants) if known else _MOST,
        undated=not known or any(one.null_count is None or one.null_count > 0 for one in times),
        kinds=(min(one.min for one in kinds), max(one.max for one in kinds)) if told else None,
    )


def _statistics(read: pq.FileMetaData, name: str) -> Iterator[Any]:
    """Yield the statistics of a column in each row group; None where there are none."""
    places = [at for at in range(read.num_columns) if read.schema.column(at).path == name]
    for group in range(read.num_row_groups):
        yield read.row_group(group).column(places[0]).statistics if places else None


def _microseconds(raw: int, scale: tuple[int, int]) -> int:
    return raw * scale[0] // scale[1]


@lru_cache(maxsize=1024)
def _interned(schema: pa.Schema) -> pa.Schema:
    """Return one object for all schemas that are equal: very many files have one."""
    return schema
