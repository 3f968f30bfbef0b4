"""The end of the segment that grows, and one turn of appending to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from featurestore.errors import OfflineStoreError
from featurestore.pushing.acknowledged import acknowledge, acknowledged
from featurestore.pushing.durable import write_all, writing
from featurestore.pushing.segments import MAX_BYTES, Entry, frame_of


@dataclass(frozen=True, kw_only=True)
class End:
    """What is known of a segment: up to ``size`` it is whole."""

    number: int
    inode: int
    size: int
    places: int
    rows: int
    oldest: int | None


def after(end: End, entries: Sequence[Entry], size: int) -> End:
    """Return the end of a segment that has some more entries, and so many bytes."""
    return End(
        number=end.number,
        inode=end.inode,
        size=size,
        places=max([end.places, *(one.first + one.rows for one in entries)]),
        rows=end.rows + sum(one.rows for one in entries),
        oldest=end.oldest if end.oldest is not None or not entries else entries[0].at,
    )


class Commit:
    """One turn of appending to the log.

    Args:
        path: the segment that grows.
        end: what is known of it.
        remember: is told of its new end.
    """

    def __init__(self, path: Path, end: End, remember: Callable[[End], End]) -> None:
        self._path = path
        self._before = self._end = end
        self._remember = remember

    @property
    def number(self) -> int:
        """The segment's number."""
        return self._end.number

    @property
    def places(self) -> int:
        """The place that the next row of the segment gets."""
        return self._end.places

    @property
    def rows(self) -> int:
        """How many rows the segment has."""
        return self._end.rows

    def append(self, entries: Sequence[Entry]) -> None:
        """Put entries, with the places that they say, on the disk; after an error nothing of them is there.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        frame = frame_of(entries)
        if len(frame) > MAX_BYTES:
            raise OfflineStoreError(
                f"{len(frame):,} bytes are too much for one push.", hint="Push fewer rows at once, or ingest them."
            )
        with writing(self._path):
            try:
                with self._path.open("r+b", buffering=0) as file:
                    file.seek(self._end.size)
                    write_all(file.fileno(), frame)
                    os.fsync(file.fileno())
                acknowledge(self._path, self._end.size + len(frame))
            except OSError:
                self.undo()
                raise
        self._end = self._remember(after(self._end, entries, self._end.size + len(frame)))

    def undo(self) -> None:
        """Take back what this turn appended."""
        with writing(self._path), self._path.open("r+b") as file:
            if acknowledged(self._path) > self._before.size:
                acknowledge(self._path, self._before.size, sync=True)
            file.truncate(self._before.size)
            os.fsync(file.fileno())
        self._end = self._remember(self._before)
