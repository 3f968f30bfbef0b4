"""The small files of a serving log become large ones.

A worker writes a file a second for each version that was asked for: 86,400 a day. Of these, 32 or more that follow one
another and are of one size become one, and so on, within a day; what is left of a day that is over becomes one. So a
row is written anew three or four times, and a day of one worker ends as one file, or one for each 64 MB.

A file has its place, whole and on the disk, before it counts; what it was merged from goes ten minutes later, when
nobody reads it any more. Whoever dies in between has lost nothing and counted nothing twice.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from featurestore.errors import OfflineStoreError
from featurestore.serving.folder_lock import rewriting
from featurestore.serving.log_files import Writes, counted, name_of, service_folders, writes_of
from featurestore.storage.durable import whole

#: Files that become one, and how many times as many writes the next size has.
FAN = 32
#: A file that would become larger than this is large enough.
LARGE_BYTES = 64 << 20
#: So long nothing is done with a file: who follows the log has read it by then.
SETTLED_SECONDS = 60.0
#: So long after a merge its files stay: who listed them before has read them by then.
GRACE_SECONDS = 600.0
#: Rows, and bytes, of one part of a file; twice as many are in memory at once, at most.
_GROUP_ROWS = 65_536
_GROUP_BYTES = 8 << 20
#: So long a file that could not be read is left alone.
_DAMAGED_SECONDS = 3600.0
_DAY_SECONDS = 86_400
#: The size of all files of a day that is over.
_OVER = -1

_logger = structlog.get_logger(__name__)


class _File(NamedTuple):
    """A file: which writes it has, its bytes, and when its newest row was written (seconds since 1970)."""

    path: Path
    writes: Writes
    size: int
    written: float


class Merged(NamedTuple):
    """What a turn did.

    Attributes:
        files: that were merged.
        into: files that they became.
        removed: files that had been merged before, and went.
    """

    files: int
    into: int
    removed: int


class _DamagedError(Exception):
    """A file cannot be read.

    Attributes:
        file: which.
    """

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(why)
        self.file = file


class _EndedError(Exception):
    """A merge was told to end, or one of its files has gone."""


class LogMerger:
    """Merges the small files of a serving log, and removes those whose time is over.

    Args:
        folder: the log's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Files that could not be read, and when. They stay as they are, and in the range of no other file: they count.
        self._damaged: dict[Path, float] = {}

    def turn(self, *, now: float | None = None, rest: Callable[[], bool] = lambda: False) -> Merged:
        """Do what is to be done by now.

        A service whose folder somebody else writes anew just now is passed over, and so is one where the disk refuses:
        nothing is lost, and the next turn goes on.

        Args:
            now: the present, seconds since 1970.
            rest: is called between two steps, and says whether to end.
        """
        now = time.time() if now is None else now
        self._damaged = {file: at for file, at in self._damaged.items() if now - at < _DAMAGED_SECONDS}
        total = Merged(0, 0, 0)
        for service in service_folders(self._folder):
            try:
                with rewriting(service, wait=False) as mine:
                    if mine:
                        total = Merged(*map(sum, zip(total, self._merged(service, now, rest), strict=True)))
            except (OSError, OfflineStoreError) as error:
                _logger.warning("serving log cannot be merged", folder=str(service), error=str(error))
            if rest():
                break
        return total

    def _merged(self, service: Path, now: float, rest: Callable[[], bool]) -> Merged:
        listed = _listed(service)
        count = set(counted(str(one.path) for one in listed))
        removed = _remove([one for one in listed if str(one.path) not in count], listed, now)
        sets = list(self._sets([one for one in listed if str(one.path) in count], now))
        files = into = 0
        while sets:
            together = sets.pop(0)
            try:
                _merge(together, rest)
            except _EndedError:
                if rest():
                    break
            except _DamagedError as error:
                _logger.warning("file of the serving log is not merged", file=str(error.file), error=str(error))
                self._damaged[error.file] = now
                at = [one.path for one in together].index(error.file)
                sets += [part for part in (together[:at], together[at + 1 :]) if len(part) > 1]
            else:
                files, into = files + len(together), into + 1
        return Merged(files, into, removed)

    def _sets(self, files: Iterable[_File], now: float) -> Iterator[list[_File]]:
        """Yield files that are to become one: neighbours of one worker, version, day, and size unless that is over.

        Args:
            files: those that count.
            now: the present, seconds since 1970.
        """
        runs: dict[tuple[str, str], list[_File]] = defaultdict(list)
        for one in files:
            runs[one.writes[:2]].append(one)
        for run in runs.values():
            together: list[_File] = []
            size, kind = 0, (0, 0)
            for one in sorted(run, key=lambda one: one.writes.first):
                day = int(one.written // _DAY_SECONDS)
                over = now - SETTLED_SECONDS > (day + 1) * _DAY_SECONDS
                mine = (day, _OVER if over else _step(one.writes.many))
                ready = now - one.written >= SETTLED_SECONDS and one.path not in self._damaged
                full = ready and mine == kind and size + one.size > LARGE_BYTES
                if mine != kind or full or not ready:
                    if len(together) >= (2 if full or kind[1] == _OVER else FAN):
                        yield together
                    together, size, kind = [], 0, mine
                if ready:
                    together.append(one)
                    size += one.size
            if len(together) >= (2 if kind[1] == _OVER else FAN):
                yield together


def _listed(service: Path) -> list[_File]:
    found = []
    for path in service.glob("[!.]*.parquet"):
        writes = writes_of(path.name)
        if writes is None:
            continue
        with suppress(FileNotFoundError):  # removed since it was listed
            info = path.stat()
            found.append(_File(path, writes, info.st_size, info.st_mtime))
    return found


def _remove(merged: Iterable[_File], listed: Iterable[_File], now: float) -> int:
    """Remove files that were merged long enough ago; return how many."""
    wholes: dict[tuple[str, str], list[tuple[Writes, float]]] = defaultdict(list)
    for one in listed:
        if one.writes.many > 1:
            with suppress(FileNotFoundError):
                # When it got its name: its other time is that of its newest row, by which retention goes.
                wholes[one.writes[:2]].append((one.writes, one.path.stat().st_ctime))
    removed = 0
    for one in merged:
        since = [at for whole, at in wholes[one.writes[:2]] if whole != one.writes and whole.hold(one.writes)]
        if now - min(since, default=now) > GRACE_SECONDS:
            one.path.unlink(missing_ok=True)
            removed += 1
    return removed


def _step(count: int) -> int:
    """Return the size of a file in steps of the fan: 0 for one write, 1 from 32 writes on, 2 from 1,024 on."""
    step = 0
    while count >= FAN:
        count //= FAN
        step += 1
    return step


def _merge(files: Sequence[_File], rest: Callable[[], bool]) -> None:
    """Write the rows of files as one, in their order.

    Raises:
        _DamagedError: one of them cannot be read.
        _EndedError: it is to end, or one of them has gone.
        OSError: the disk refuses.
    """
    first, last = files[0].writes, files[-1].writes
    target = files[0].path.with_name(name_of(Writes(first.worker, first.version, first.first, last.last)))
    with whole(target) as part:
        _write(part, files, rest)
        # Retention counts from when rows were written, not from when they were merged.
        newest = max(one.written for one in files)
        os.utime(part, (newest, newest))


def _write(target: Path, files: Sequence[_File], rest: Callable[[], bool]) -> None:
    batches = _batches(files, rest)
    first = next(batches, None)
    if first is None:
        raise _DamagedError(files[0].path, "it has no row")
    # As the log writes them: texts repeat; of numbers and ids a dictionary takes longer to look up than it saves.
    texts = [one.name for one in first.schema if pa.types.is_string(one.type) and one.name != "request_id"]
    with pq.ParquetWriter(target, first.schema, compression="zstd", use_dictionary=texts) as writer:
        waiting, rows, size = [first], first.num_rows, first.nbytes
        for batch in batches:
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting, rows, size = [], 0, 0
            waiting.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
        writer.write_table(pa.Table.from_batches(waiting))


def _batches(files: Sequence[_File], rest: Callable[[], bool]) -> Iterator[pa.RecordBatch]:
    columns: pa.Schema | None = None
    for one in files:
        if rest():
            raise _EndedError
        try:
            with pq.ParquetFile(one.path) as opened:
                columns = columns or opened.schema_arrow
                if not opened.schema_arrow.equals(columns):
                    raise _DamagedError(one.path, "it has other columns than the one before")
                yield from opened.iter_batches(batch_size=_batch_rows(opened.metadata), use_threads=False)
        except FileNotFoundError as error:  # its time was over
            raise _EndedError from error
        except (OSError, pa.ArrowException) as error:
            raise _DamagedError(one.path, str(error).partition("\n")[0]) from error


def _batch_rows(footer: pq.FileMetaData) -> int:
    """Return how many rows of a file to read at once."""
    size = sum(int(footer.row_group(number).total_byte_size) for number in range(footer.num_row_groups))
    return max(1, min(_GROUP_ROWS, _GROUP_BYTES * int(footer.num_rows) // max(1, size)))
