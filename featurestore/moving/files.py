"""Files, copied between disks and object storage, read back, and compared by their bytes.

Which files there are is noted at the point; a file of a store never changes but by being put in the place of another,
so one that is as it was then is of the point. The few that change all the time are so small that their bytes are noted.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore.errors import ConfigError, OfflineStoreError
from featurestore.moving.journal import Done, Journal
from featurestore.moving.report import Measure, PartReport, State, digest_of
from featurestore.storage import StoragePath

#: Of an object so much is read by one request.
_PIECE = 8 << 20
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A file as it was at the point.

    Attributes:
        name: below the folder of its part, with slashes.
        size: in bytes.
        stamp: when it was written, in nanoseconds since 1970.
        content: its bytes, where others change them all the time; else None.
    """

    name: str
    size: int
    stamp: int
    content: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """The files of a part.

    Attributes:
        part: its name.
        source: the folder that the names are below.
        target: the same of the destination.
        files: what there was, in the order in which it is copied: what names others comes after them.
        listed: gives the files of such a part in any folder.
        note: what is to be known of it.
    """

    part: str
    source: StoragePath
    target: StoragePath
    files: tuple[Captured, ...]
    listed: Callable[[StoragePath], Iterable[StoragePath]]
    note: str = ""

    @property
    def stays(self) -> bool:
        """Whether source and destination are one place."""
        return same_place(self.source, self.target)

    @property
    def here(self) -> Measure:
        """What there is, without a digest."""
        return Measure(items=len(self.files), bytes=sum(one.size for one in self.files))


def same_place(one: StoragePath, other: StoragePath) -> bool:
    """Return whether two names are of one place."""
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other and getattr(one, "bucket", None) == getattr(other, "bucket", None)


def capture(path: StoragePath, name: str, *, content: bool = False) -> Captured | None:
    """Return a file as it is now; None if it is gone.

    Args:
        path: the file.
        name: see :class:`Captured`.
        content: whether its bytes are to be noted.
    """
    try:
        data = path.read_bytes() if content else None
        found: Any = path.stat()
    except FileNotFoundError:
        return None
    size = found.st_size if data is None else len(data)
    return Captured(name=name, size=size, stamp=_stamp(found), content=data)


def name_below(path: StoragePath, folder: StoragePath) -> str:
    """Return the name of a file below a folder, with slashes."""
    return path.relative_to(str(folder)).as_posix() if isinstance(path, Path) else path.relative_to(folder)


def check_target(files: FileSet, journal: Journal | None) -> None:
    """Look whether the destination has files that are not ours, nor the same as the source's.

    Raises:
        ConfigError: it has.
    """
    known = {one.name: one for one in files.files}
    for path in files.listed(files.target):
        name = name_below(path, files.target)
        if journal is not None and journal.is_ours(files.part, name):
            continue
        one = known.get(name)
        if one is None or (one.content is None and sha256(path) != sha256(_below(files.source, name))):
            raise ConfigError(
                f"The destination's {files.part} hold other data: {path} is not of this store.",
                hint="Name an empty place; or empty this one, if nothing in it is needed. Nothing was changed.",
            )


def copy_files(files: FileSet, journal: Journal, scratch: Path, progress: Callable[[int], object]) -> CopiedFiles:
    """Copy what the destination has not, read it back, and remove what the source had and has no more.

    Args:
        files: what to copy.
        journal: of the destination.
        scratch: a folder of this machine, for what passes through it on the way into object storage.
        progress: called with 1 for each file that was copied.

    Raises:
        OfflineStoreError: a file cannot be read or written, or is not read back as it was written.
    """
    done = CopiedFiles(files)
    known = {one.name for one in files.files}
    for one in files.files:
        before = journal.found(files.part, one.name)
        target = _below(files.target, one.name)
        if before is not None and (before.size, before.stamp) == (one.size, one.stamp) and _has(target, one.size):
            done.same(one, before.digest)
            continue
        if before is None and _is_there(_below(files.source, one.name), one, target):
            digest = sha256(target)
            journal.done(files.part, one.name, Done(one.size, one.stamp, digest))
            done.same(one, digest)
            continue
        with _told(target):
            journal.begin(files.part, one.name)
            try:
                here = _copy(_below(files.source, one.name), one, target, scratch)
            except FileNotFoundError:
                done.changed.append(one.name)
                continue
            if not _is_still(_below(files.source, one.name), one):
                done.changed.append(one.name)
                continue
            there = sha256(target)
        if here != there:
            raise OfflineStoreError(
                f"{target} was written, and is not read back as it was: its SHA-256 is {there}, not {here}.",
                hint="Look after the disk or the object storage, and run the same command again.",
            )
        journal.done(files.part, one.name, Done(one.size, one.stamp, there))
        done.copied(one, here, there)
        progress(1)
    for name, _ in list(journal.files(files.part)):
        if name not in known:
            _below(files.target, name).unlink(missing_ok=True)
            journal.removed(files.part, name)
    return done


class CopiedFiles:
    """What came of copying a part.

    Attributes:
        changed: names of files that others have changed or removed since the point.
    """

    def __init__(self, files: FileSet) -> None:
        self._files = files
        self._here: dict[str, str] = {}
        self._there: dict[str, str] = {}
        self._copied = 0
        self.changed: list[str] = []

    def same(self, one: Captured, digest: str) -> None:
        """Note a file that was there."""
        self._here[one.name] = self._there[one.name] = f"{one.size} {digest}"

    def copied(self, one: Captured, here: str, there: str) -> None:
        """Note a file that was copied, with what it was and what was read back."""
        self._here[one.name], self._there[one.name] = f"{one.size} {here}", f"{one.size} {there}"
        self._copied += 1

    def report(self, before: int = 0) -> PartReport:
        """Return the report; ``before`` files were copied by earlier rounds of the same run."""
        copied = self._copied + before
        state = State.copied if copied else State.present if self._here else State.nothing
        return PartReport(
            part=self._files.part,
            unit="files",
            state=state,
            here=self._measure(self._here),
            there=self._measure(self._there),
            copied=copied,
            note=self._files.note,
        )

    @property
    def count(self) -> int:
        """How many files were copied."""
        return self._copied

    def _measure(self, lines: dict[str, str]) -> Measure:
        size = sum(int(line.partition(" ")[0]) for line in lines.values())
        return Measure(items=len(lines), bytes=size, digest=digest_of(lines))


def sha256(path: StoragePath) -> str:
    """Return SHA-256 of a file, as hexadecimal digits.

    Raises:
        FileNotFoundError: there is none.
        OSError: the disk refuses; ``OfflineStoreError`` where object storage does.
    """
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def write_synced(pieces: Iterable[bytes], target: Path) -> str:
    """Write a file that is whole, and on the disk, when it has its name; return SHA-256 of it."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.moving")
    with part.open("wb") as out:
        for piece in pieces:
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    part.replace(target)
    return digest.hexdigest()


def _copy(source: StoragePath, one: Captured, target: StoragePath, scratch: Path) -> str:
    pieces = _pieces(source) if one.content is None else [one.content]
    if isinstance(target, Path):
        digest = write_synced(pieces, target)
        os.utime(target, ns=(one.stamp, one.stamp))  # retention goes by it
        return digest
    if isinstance(source, Path) and one.content is None:
        target.upload(source)
        return sha256(source)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        local = Path(folder) / target.name
        digest = write_synced(pieces, local)
        target.upload(local)
    return digest


def _pieces(path: StoragePath) -> Iterator[bytes]:
    with path.open("rb") if isinstance(path, Path) else path.reader() as opened:
        while piece := opened.read(_PIECE):
            yield piece


def _below(folder: StoragePath, name: str) -> StoragePath:
    return folder / name


def _has(path: StoragePath, size: int) -> bool:
    try:
        return bool(path.stat().st_size == size)
    except FileNotFoundError:
        return False


def _is_there(source: StoragePath, one: Captured, target: StoragePath) -> bool:
    """Return whether the destination has the file though no journal says so: of another project, or of a lost one."""
    try:
        same = one.content is None and _has(target, one.size) and sha256(source) == sha256(target)
    except FileNotFoundError:
        return False
    return same and _is_still(source, one)


def _is_still(path: StoragePath, one: Captured) -> bool:
    if one.content is not None:
        return True
    now = capture(path if isinstance(path, Path) else path.anew(), one.name)
    return now == one


def _stamp(found: Any) -> int:
    return int(getattr(found, "st_mtime_ns", 0) or found.st_mtime * _NANOSECONDS)


class _told:  # noqa: N801 - a context manager reads as a word
    """Let errors of the disk say which file they are about."""

    def __init__(self, target: StoragePath) -> None:
        self._target = target

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            raise OfflineStoreError(
                f"{self._target} cannot be copied: {error.strerror or error}.",
                hint="Check the space and the rights there, and run the same command again: it goes on.",
            ) from error
