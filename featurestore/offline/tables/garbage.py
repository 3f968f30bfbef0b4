"""What nobody needs any more: found first, so that it can be shown, and removed then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from featurestore.storage import ObjectPath, StoragePath
from featurestore.storage.places import remove_tree

#: Whoever writes a file is done with it, or goes on writing, within this time; it is a dead process's otherwise.
AT_WORK = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Files of one kind and one owner, or rows of a database.

    Attributes:
        kind: ``leftover`` of a dead process, ``replaced`` file of a table, ``quarantine``, ``profile``,
            ``retired version``, ``dataset``, ``log``, ``feedback`` or ``message``.
        what: whose they are: a table's storage id, a dataset's name and version, a service.
        paths: files, or whole folders.
        size: bytes.
        rows: of a database, where they are no files.
        kept_by: what needs them still; empty if they may go.
        young: whether they were written within the last hour, and stay for that: somebody may be at work with them.
    """

    kind: str
    what: str
    paths: tuple[StoragePath, ...]
    size: int
    rows: int = 0
    kept_by: str = ""
    young: bool = False


def garbage(
    kind: str, what: str, paths: Iterable[StoragePath], kept_by: str = "", *, young: bool = False
) -> Iterator[Garbage]:
    """Yield what these files are together; nothing if there are none."""
    listed = tuple(paths)
    if listed:
        yield Garbage(kind=kind, what=what, paths=listed, size=sum(map(size_of, listed)), kept_by=kept_by, young=young)


def by_age(kind: str, what: str, paths: Iterable[StoragePath], now: datetime, kept_by: str = "") -> Iterator[Garbage]:
    """Yield those of the files that nobody can be at work with, and then the young ones."""
    listed = list(paths)
    old = older(listed, now - AT_WORK)
    yield from garbage(kind, what, old, kept_by)
    yield from garbage(kind, what, [path for path in listed if path not in old], kept_by, young=True)


def size_of(path: StoragePath) -> int:
    """Return the bytes of a file, or of all files of a folder; those that vanish meanwhile count nothing."""
    try:
        if isinstance(path, ObjectPath):
            return sum(one.stat().st_size for one in path.rglob("*")) or path.stat().st_size
        if not path.is_dir():
            return path.stat().st_size
        return sum(size_of(one) for one in path.iterdir())
    except FileNotFoundError:
        return 0


def older(paths: Iterable[StoragePath], than: datetime) -> list[StoragePath]:
    """Return those of the files and folders in which nothing was written since an instant."""
    return [one for one in paths if _written(one) < than.timestamp()]


def _written(path: StoragePath) -> float:
    try:
        if isinstance(path, ObjectPath):
            return _written_in_storage(path)
        inner = path.rglob("*") if path.is_dir() else ()
        return max([path.stat().st_mtime, *(one.stat().st_mtime for one in inner)])
    except FileNotFoundError:  # gone meanwhile, or one of its files is: somebody is at work there
        return float("inf")


def _written_in_storage(path: ObjectPath) -> float:
    """Return when an object was written, or the youngest of those below a name."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return max([one.stat().st_mtime for one in path.rglob("*")], default=float("inf"))


def remove(found: Garbage, *, unless_younger: datetime) -> None:
    """Remove files, but those that somebody has begun to use meanwhile."""
    present = [path if isinstance(path, Path) else path.anew() for path in found.paths]
    for path in older(present, unless_younger):
        with contextlib.suppress(FileNotFoundError):
            remove_tree(path)
