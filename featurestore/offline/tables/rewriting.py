"""Parquet files without some of their rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import OfflineStoreError
from featurestore.offline.erasure.erased_keys import Matches
from featurestore.storage import StoragePath
from featurestore.storage.durable import sync
from featurestore.storage.parquet import ParquetWriter, parquet_file, read_schema, write_table

_ROW_GROUP_ROWS = 131_072
#: A second: some disks and networks know of no shorter times.
_LATER_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What is left of a file.

    Attributes:
        rows: how many rows.
        erased: how many are not.
        first: the oldest event time, microseconds since 1970; None where nothing is left, or nothing has such a time.
        last: the newest.
    """

    rows: int
    erased: int
    first: int | None
    last: int | None


def columns_of(file: StoragePath) -> list[str]:
    """Return the names of a file's columns.

    Raises:
        OfflineStoreError: it cannot be read.
    """
    with _reading(file):
        names: list[str] = read_schema(file).names
        return names


def count_matches(file: StoragePath, columns: Iterable[str], matches: Matches) -> int:
    """Return how many rows of a file are meant; only the named columns are read.

    Raises:
        OfflineStoreError: the file cannot be read.
    """
    return sum(pc.sum(matches(batch)).as_py() or 0 for batch in _batches(file, list(columns)))


def write_rest(file: StoragePath, target: StoragePath, matches: Matches, *, keep_empty: bool = False) -> Rest:
    """Write the rows of a file that are not meant to another file, or to the same one, at once for readers.

    Args:
        file: the file.
        target: the other one. It is on the disk when this returns; none is written if no row is left.
        matches: which rows are meant.
        keep_empty: whether a file without rows is written, too.

    Raises:
        OfflineStoreError: the one cannot be read, or the other cannot be written.
    """
    # An object is there whole or not at all: it needs no other name while it is written.
    part = target.with_name(f".{target.name}.{os.getpid()}") if isinstance(target, Path) else target
    rows = erased = 0
    instants: list[int] = []
    writer: ParquetWriter | None = None
    try:
        for batch in _batches(file, None):
            kept = batch.filter(pc.invert(matches(batch)))
            erased += batch.num_rows - kept.num_rows
            if not kept.num_rows:
                continue
            if writer is None:
                writer = ParquetWriter(part, kept.schema, compression="zstd", compression_level=1)
            writer.write_batch(kept, row_group_size=_ROW_GROUP_ROWS)
            rows += kept.num_rows
            if EVENT_TIMESTAMP in kept.schema.names and pa.types.is_timestamp(kept.schema.field(EVENT_TIMESTAMP).type):
                ends = pc.min_max(kept.column(EVENT_TIMESTAMP).cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
                instants += [one.as_py() for one in ends.values() if one.is_valid]
        whole, writer = writer, None
        if whole is not None:
            whole.close()
        elif keep_empty:
            write_table(read_schema(file).empty_table(), part)
        if isinstance(part, Path) and isinstance(target, Path) and part.exists():
            sync(part)
            part.replace(target)
    except OSError as error:
        raise OfflineStoreError(
            f"{target} cannot be written: {error}.", hint="Check the disk's space and rights, and erase again."
        ) from error
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.discard()
        if isinstance(part, Path):
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    return Rest(rows=rows, erased=erased, first=min(instants, default=None), last=max(instants, default=None))


def erase_in_place(file: StoragePath, matches: Matches, *, keep_empty: bool = False) -> None:
    """Put a file without the rows that are meant in its place, at once for readers.

    Args:
        file: the file.
        matches: which rows are meant.
        keep_empty: whether a file without rows stays where none are left; else the file is removed.

    Raises:
        OfflineStoreError: it cannot be read, or the disk refuses.
    """
    before = file.stat() if isinstance(file, Path) else None
    rows = write_rest(file, file, matches, keep_empty=keep_empty).rows
    try:
        if not rows and not keep_empty:
            file.unlink(missing_ok=True)
        elif isinstance(file, Path) and before is not None:
            # Retention counts from when its rows were written; readers that know the file see that it is another one.
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + _LATER_NS))
    except OSError as error:
        raise OfflineStoreError(f"{file} cannot be removed, or dated: {error}.") from error


def abandoned(path: StoragePath) -> bool:
    """Return whether a partial file, ``.name.pid``, is that of a process which is no more."""
    pid = path.suffix[1:]
    if not pid.isdecimal() or not isinstance(path, Path):  # whoever writes to object storage may be on another machine
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


@contextmanager
def _reading(file: StoragePath) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise OfflineStoreError(
            f"{file} cannot be read, so nothing can be erased from it: {error}",
            hint="Bring it back from a backup, or remove it if its rows are worth nothing; then erase again.",
        ) from error


def _batches(file: StoragePath, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    with _reading(file), parquet_file(file) as opened:
        yield from opened.iter_batches(batch_size=_ROW_GROUP_ROWS, columns=columns)
