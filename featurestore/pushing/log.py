"""The push log: a folder of segments, to which all processes of a store append, one group of pushes at a time.

Two locks, both held by the system for a process, so that they go when it dies:

``commit``
    is held from the look at the end of the newest segment until the rows of a group are online. So pushes have one
    order, in the log as online, and whoever holds it sees every acknowledged push, whole.
``flush``
    is held, alone, by whoever brings segments into the offline store, and shared by materializations, which must not
    see a load that is published and not settled. Whoever wants both takes it first.

The newest segment is the one that grows. Its successor is made before it is flushed, so it never changes from then on;
and there is always one, so numbers are never given twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from featurestore.pushing import origins
from featurestore.pushing.acknowledged import acknowledge, acknowledged, forget
from featurestore.pushing.commit import Commit, End, after
from featurestore.pushing.durable import reading, write_new, writing
from featurestore.pushing.segments import (
    HEADER,
    HEADER_WITH_ORIGINS,
    Entry,
    frame_of,
    header_for,
    number_of,
    parse,
)
from featurestore.storage.durable import sync

_SUFFIX = ".wal"
_TORN = ".torn"
_DIGITS = 20

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What the log holds that the offline store has not yet.

    Attributes:
        rows: how many.
        oldest: when the first of them was pushed, in microseconds since 1970; None if there are none.
    """

    rows: int
    oldest: int | None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment that grows no more."""

    number: int
    path: Path

    def read(self) -> tuple[Entry, ...]:
        """Return its entries.

        Raises:
            OfflineStoreError: it cannot be read, or is damaged.
        """
        with reading(self.path):
            known = acknowledged(self.path)
            return parse(self.path.read_bytes(), str(self.path), acknowledged=known, sealed=True).entries


class PushLog:
    """The log in one folder, for any number of threads and processes.

    Args:
        folder: made when the first row comes.

    Attributes:
        folder: it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: End | None = None  # of the newest segment; changed by whoever holds the lock of commits

    @contextlib.contextmanager
    def committing(self, *, origins: bool = False) -> Iterator[Commit]:
        """Let one group of pushes be appended; others wait until the block ends.

        Args:
            origins: whether some entries will have origins, for which the newest segment must be of the format.

        Raises:
            OfflineStoreError: the folder cannot be written, or the newest segment is damaged.
        """
        with self._locked("commit"):
            end = self._newest()
            if origins and not self._takes_origins(end):
                end = self._sealed(end, HEADER_WITH_ORIGINS) if end.rows else self._replaced(end, HEADER_WITH_ORIGINS)
            yield Commit(self._path(end.number), end, self._remember)

    @contextlib.contextmanager
    def flushing(self, *, wait: bool) -> Iterator[bool]:
        """Hold what only one may do at a time.

        Args:
            wait: whether to wait for whoever does it, or materializes, now; else the block is told that it does not
                hold it.
        """
        with self._locked("flush", wait=wait) as held:
            yield held

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """Let nobody flush while the block runs."""
        with self._locked("flush", shared=True):
            yield

    def seal(self) -> None:
        """Let the newest segment, if it has rows, grow no more."""
        if not self._numbers():
            return
        with self._locked("commit"):
            end = self._newest()
            if end.rows:
                self._sealed(end, HEADER)

    def sealed(self) -> list[Segment]:
        """Return the segments that grow no more, in order."""
        return [Segment(number=one, path=self._path(one)) for one in self._numbers()[:-1]]

    def begun(self) -> bool:
        """Return whether anybody was ever about to push; whoever is not yet, has still to look which versions are live.

        A segment says less: the first push makes it after that look.
        """
        return self.folder.exists()

    def segments(self) -> list[Segment]:
        """Return all segments, in order; whoever reads the newest holds the lock of commits."""
        return [Segment(number=one, path=self._path(one)) for one in self._numbers()]

    def formats(self) -> list[int]:
        """Return the formats of the segments, each once.

        Raises:
            OfflineStoreError: a segment cannot be read, is none, or is of a newer format.
        """
        found = set()
        for segment in self.segments():
            with reading(segment.path), segment.path.open("rb") as file:
                header = file.read(len(HEADER))
            parse(header, str(segment.path))
            found.add(number_of(header))
        return sorted(found - {0})  # 0 is of one whose header is torn, which holds nothing

    def remove(self, segment: Segment, entries: Sequence[Entry] = ()) -> None:
        """Remove a segment whose rows the offline store has; the origins of its entries stay known."""
        with writing(segment.path):
            origins.keep(self.folder, entries)
            forget(segment.path)
            segment.path.unlink(missing_ok=True)
            sync(self.folder)

    def rewrite(self, segment: Segment, entries: Sequence[Entry]) -> None:
        """Put entries in the place of a segment's; for an erasure, which holds both locks."""
        part = self.folder / f".{uuid.uuid4().hex}"
        with writing(segment.path):
            try:
                data = header_for(entries) + b"".join(frame_of([one]) for one in entries)
                write_new(part, data)
                acknowledge(segment.path, 0, sync=True)  # between the two, that of neither may count
                part.replace(segment.path)
            finally:
                part.unlink(missing_ok=True)
            sync(self.folder)
            acknowledge(segment.path, len(data), sync=True)

    def tidy(self) -> int:
        """Remove what processes left that were killed: half a rewriting, torn ends; return how many files.

        For an erasure, which holds both locks: nobody can read whose rows a torn end has.
        """
        left = [*self.folder.glob(".[0-9a-f]*"), *self.folder.glob(f"*{_TORN}")]
        for one in left:
            one.unlink(missing_ok=True)
        return len(left)

    def backlog(self) -> Backlog:
        """Return how many rows wait, and since when.

        Raises:
            OfflineStoreError: a segment cannot be read.
        """
        rows, oldest = 0, None
        if self._numbers():
            with self._locked("commit"):
                end = self._newest()
                older = [entry for segment in self.sealed() for entry in segment.read()]
            rows = end.rows + sum(one.rows for one in older)
            oldest = min((one.at for one in older), default=end.oldest)
        return Backlog(rows=rows, oldest=oldest)

    def due(self, *, rows: int, seconds: float) -> bool:
        """Return whether it is time to flush: a segment waits, or the newest has so many rows or is so old."""
        numbers = self._numbers()
        if len(numbers) < 2 and not (numbers and self._path(numbers[0]).stat().st_size > len(HEADER)):
            return False
        if len(numbers) > 1:
            return True
        with self._locked("commit"):
            end = self._newest()
        return end.rows >= rows or (end.oldest is not None and time.time() - end.oldest / 1e6 >= seconds)

    def _newest(self) -> End:
        """Return what is known of the segment that grows, after a look at what others appended.

        A torn end is moved into a file beside it.
        """
        numbers = self._numbers()
        if not numbers:
            return self._make()
        path = self._path(numbers[-1])
        with writing(path), path.open("r+b") as file:
            info = os.fstat(file.fileno())
            known = self._known
            if known is None or (known.number, known.inode) != (numbers[-1], info.st_ino) or known.size > info.st_size:
                known = End(number=numbers[-1], inode=info.st_ino, size=0, places=0, rows=0, oldest=None)
            whole = acknowledged(path)
            if known.size == info.st_size >= whole:
                return self._remember(known)
            file.seek(known.size)
            rest = file.read()
            found = parse(rest, str(path), start=known.size, acknowledged=whole)
            end = after(known, found.entries, max(found.end, len(HEADER)))
            if found.end < len(HEADER):
                file.seek(0)
                file.write(HEADER)
            if end.size < info.st_size:
                self._keep_torn(path, end.size, rest[end.size - known.size :])
            if end.size < info.st_size or found.end < len(HEADER):
                file.truncate(end.size)
                file.flush()
                os.fsync(file.fileno())
            return self._remember(end)

    def _keep_torn(self, path: Path, place: int, torn: bytes) -> None:
        """Put the torn end of a segment into a file of its own, before it is cut."""
        kept = path.with_name(f"{path.stem}-{place}-{uuid.uuid4().hex[:8]}{_TORN}")
        write_new(kept, torn)
        sync(self.folder)
        _logger.warning(
            "the torn end of the push log was moved aside",
            segment=str(path),
            byte=place,
            bytes=len(torn),
            moved_to=str(kept),
            hint="A process died while it wrote it: no push of these rows was answered.",
        )

    def _takes_origins(self, end: End) -> bool:
        path = self._path(end.number)
        with reading(path), path.open("rb") as file:
            return file.read(len(HEADER)) == HEADER_WITH_ORIGINS

    def _sealed(self, end: End, header: bytes) -> End:
        """Let the newest segment grow no more, and begin its successor."""
        path = self._path(end.number)
        with writing(path):
            acknowledge(path, end.size, sync=True)
        return self._make(header)

    def _replaced(self, end: End, header: bytes) -> End:
        """Put a segment of another format in the place of the newest, which is empty.

        Another file, not another header in it: processes that know the file read on from where they were.
        """
        path, part = self._path(end.number), self.folder / f".{uuid.uuid4().hex}"
        with writing(path):
            try:
                write_new(part, header)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            sync(self.folder)
            inode = path.stat().st_ino
        return self._remember(dataclasses.replace(end, inode=inode, size=len(header)))

    def _make(self, header: bytes = HEADER) -> End:
        """Begin a new segment."""
        numbers = self._numbers()
        # The clock, so that numbers grow even if somebody has emptied the folder.
        number = max([time.time_ns() // 1000, *(one + 1 for one in numbers[-1:])])
        path = self._path(number)
        with writing(path):
            write_new(path, header)
            sync(self.folder)
            inode = path.stat().st_ino
        return self._remember(End(number=number, inode=inode, size=len(HEADER), places=0, rows=0, oldest=None))

    def _remember(self, end: End) -> End:
        self._known = end
        return end

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:0{_DIGITS}}{_SUFFIX}"

    def _numbers(self) -> list[int]:
        return sorted(int(one.stem) for one in self.folder.glob(f"{'[0-9]' * _DIGITS}{_SUFFIX}"))

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool = True, shared: bool = False) -> Iterator[bool]:
        file = self.folder / f"{name}.lock"
        with writing(file):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
                held = True
            except BlockingIOError:
                held = False
            yield held
        finally:
            os.close(descriptor)
