"""Rows of erased keys out of a table: out of what it holds now, and out of what only its past and manifests name.

What a table holds changes by one commit, so that readers see all of it or nothing. Every other file is written anew
beside, and the registry leads from the old name to the new one. Then the old files go, and nothing leads to the rows.
Each step can be done again: a process that is killed leaves work for the next one, and nothing that needs mending.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from featurestore.config import Config
from featurestore.definitions import FeatureView
from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.offline.erasure.erased_keys import Matches
from featurestore.offline.erasure.suppression import Suppressed, suppressed
from featurestore.offline.tables.rewriting import abandoned, columns_of, count_matches, erase_in_place, write_rest
from featurestore.offline.tables.snapshots import DataFile, StagedFile, discard, new_name, statistics
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry, RewrittenFile
from featurestore.storage import StoragePath
from featurestore.storage.places import append_text, listed

#: A file that nothing names belongs to a load that is at work; if it was not written for so long, to one that died.
AT_WORK_SECONDS = 900.0

_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What an erasure did in one place, or would do.

    Attributes:
        rows: erased, in all files and copies.
        files: written anew, or removed.
        waiting: files of writers at work: what they hold is not erased yet.
    """

    rows: int = 0
    files: int = 0
    waiting: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(rows=self.rows + other.rows, files=self.files + other.files, waiting=self.waiting + other.waiting)


@dataclass(frozen=True, kw_only=True)
class TableErasure:
    """The erasure of some rows from a table.

    Attributes:
        table: the table.
        columns: the columns by which rows are known.
        matches: which rows.
        registry: enters the files that are written anew.
        author: who erases.
        request: whose wish it is; it stands in the commit.
        project: whose table it is.
    """

    table: OfflineTable
    columns: Sequence[str]
    matches: Matches
    registry: Registry
    author: str
    request: str
    project: str

    def count(self) -> Erased:
        """Return what :meth:`run` would do."""
        present = self.table.snapshot().files if self.table.exists() else ()
        held = [self._count(one.place) for one in present]
        return Erased(rows=sum(held), files=sum(one > 0 for one in held)) + self._past(only_count=True)

    def run(self) -> Erased:
        """Erase the rows.

        Raises:
            OfflineStoreError: a file cannot be read or written, or others change the table faster than it is read.
        """
        self._tidy()
        done = self._present() + self._past(only_count=False)
        while self._is_back():
            done += self._present()
        self._diary.unlink(missing_ok=True)
        return done

    @property
    def _diary(self) -> StoragePath:
        """The file in which this thread says, before it does, which files it is about to write."""
        return self.table.path / f".erasing.{socket.gethostname()}.{threading.get_ident()}.{os.getpid()}"

    def _tidy(self) -> None:
        """Remove files that an erasure had written when it was killed, and that nothing names yet."""
        for diary in self.table.path.glob(".erasing.*"):
            if not _given_up(diary) and diary != self._diary:
                continue
            named = self._named(self.registry.rewritten_files(self.table.path.name))
            for name in diary.read_text(encoding="utf-8").split():
                if name not in named:
                    (self.table.path / name).unlink(missing_ok=True)
            diary.unlink(missing_ok=True)

    def _present(self) -> Erased:
        """Write what the table holds anew, by one commit."""
        for _ in range(_TRIES):
            held = {
                one.name: (one, found)
                for one in (self.table.snapshot().files if self.table.exists() else ())
                if (found := self._count(one.place))
            }
            if not held:
                return Erased()
            staged: dict[str, StagedFile | None] = {}
            erased = sum(found for _, found in held.values())
            try:
                for name, (one, _) in held.items():
                    staged[name] = self._staged(one)
                self.table.rewrite(
                    list(held),
                    [one for one in staged.values() if one is not None],
                    action="erase",
                    details={"request": self.request, "rows": erased, "files": len(held)},
                    author=self.author,
                    reason=self.request,
                    data_change=True,
                    project=self.project,
                )
            except TableConflictError:
                # A compaction or another erasure came first; its files are others.
                discard(staged.values())
                continue
            except BaseException as error:
                discard(staged.values())
                gone = any(not one.place.exists() for one, _ in held.values())
                if gone and isinstance(error, OfflineStoreError):
                    continue  # another erasure came first, and its old files went before they were read here
                raise
            self._enter({name: (staged[name], found) for name, (_, found) in held.items()})
            return Erased(rows=erased, files=len(held))
        raise OfflineStoreError(
            f"The table {self.table.path.name} is changed by others all the time.", hint="Run the erasure again."
        )

    def _is_back(self) -> bool:
        """Return whether a restore has brought a file back while it was written anew as one of the past."""
        rewritten = self.registry.rewritten_files(self.table.path.name)
        held = self.table.snapshot().files if self.table.exists() else ()
        return any(one.name in rewritten and one.place.exists() for one in held)

    def _past(self, *, only_count: bool) -> Erased:
        """Write anew what old snapshots and manifests name, and remove what a dead process left."""
        total = Erased()
        present = {one.name for one in self.table.snapshot().files} if self.table.exists() else set()
        rewritten = self.registry.rewritten_files(self.table.path.name)
        named: set[str] | None = None
        for path in listed(self.table.path, "*.parquet"):
            if path.name in present:
                continue
            if path.name in rewritten:  # by an erasure that was killed before it removed the file
                total += Erased(files=1)
                self._remove(path, only_count)
                continue
            try:
                found, broken = self._count(path), None
            except OfflineStoreError as error:
                found, broken = 0, error
            if not found and broken is None:
                continue
            named = self._named(rewritten) if named is None else named
            if path.name in named:
                if broken is not None:
                    raise broken
                if only_count or self._rewritten(path, found):
                    total += Erased(rows=found, files=1)
                continue
            try:
                written = path.stat().st_mtime
            except FileNotFoundError:  # another erasure has removed it since it was counted
                continue
            if time.time() - written < AT_WORK_SECONDS:
                total += Erased(waiting=1)
            else:  # what nothing names, and nobody can read or may read
                total += Erased(rows=found, files=1)
                self._remove(path, only_count)
        return total

    def _rewritten(self, path: StoragePath, found: int) -> bool:
        """Write a file of the past anew; return whether another erasure has not done so since it was looked at."""
        try:
            staged = self._staged(_unread(path))
        except OfflineStoreError:
            if not path.exists():
                return False
            raise
        self._enter({path.name: (staged, found)})
        return True

    def _named(self, rewritten: Mapping[str, RewrittenFile]) -> set[str]:
        """Return every file that a commit ever named, whose log is never cut, or that stands for such a one by now."""
        return _committed(self.table.path) | {one.replaced_by for one in rewritten.values() if one.replaced_by}

    def _remove(self, path: StoragePath, only_count: bool) -> None:
        if not only_count:
            path.unlink(missing_ok=True)

    def _count(self, file: StoragePath) -> int:
        try:
            if not set(self.columns) <= set(columns_of(file)):
                return 0
            return count_matches(file, self.columns, self.matches)
        except OfflineStoreError:
            if not file.exists():  # another erasure, or the removal of what nothing names, came first
                return 0
            raise

    def _staged(self, file: DataFile) -> StagedFile | None:
        # Rows that stand in order still do so when some are gone.
        target = self.table.path / new_name("s" if file.ordered else "")
        append_text(self._diary, f"{target.name}\n")
        rest = write_rest(file.place, target, self.matches)
        if rest.first is None or rest.last is None:
            return None
        return StagedFile(target, rest.rows, statistics(rest.rows, rest.first, rest.last))

    def _enter(self, files: dict[str, tuple[StagedFile | None, int]]) -> None:
        """Lead from old names to new ones; only then do the old files go."""
        self.registry.record_rewritten(
            self.table.path.name,
            {
                name: RewrittenFile(
                    replaced_by=None if staged is None else staged.path.name, rows_erased=found, request=self.request
                )
                for name, (staged, found) in files.items()
            },
        )
        held = {one.name for one in self.table.snapshot().files} if self.table.exists() else set()
        for name in files:
            if name not in held:  # as one is that a restore has brought back meanwhile
                (self.table.path / name).unlink(missing_ok=True)


def erase_since(
    before: Suppressed | None,
    view: FeatureView,
    table: OfflineTable,
    quarantine: StoragePath,
    registry: Registry,
    config: Config,
    *,
    author: str,
) -> None:
    """Erase what a load has brought of keys that were erased while it ran.

    If the erasure went through the table before the load was published, this finds the rows; else the erasure does.

    Args:
        before: what was suppressed as the load began.
        view: the view.
        table: its table, in which the load is published by now.
        quarantine: the rows that the load kept aside, if there are any.
        registry: knows what is suppressed.
        config: has the secret.
        author: who loaded.
    """
    now = suppressed(view, registry, config)
    if now is not None and (before is None or now.digests - before.digests):
        if quarantine.exists() and count_matches(quarantine, now.columns, now):
            erase_in_place(quarantine, now)
        TableErasure(
            table=table,
            columns=now.columns,
            matches=now,
            registry=registry,
            author=author,
            request="erased while the load ran",
            project=config.project,
        ).run()


def _given_up(diary: StoragePath) -> bool:
    """Return whether the process that wrote a diary is no more; of one that may be elsewhere, its age says so."""
    if isinstance(diary, Path):
        return abandoned(diary)
    return time.time() - diary.stat().st_mtime > AT_WORK_SECONDS


def _unread(path: StoragePath) -> DataFile:
    return DataFile(place=path, rows=0, size=0, first=0, last=0)


def _committed(folder: StoragePath) -> set[str]:
    found: set[str] = set()
    try:
        for log in listed(folder / "_delta_log", "*.json"):
            for line in log.read_text(encoding="utf-8").splitlines():
                action = json.loads(line)
                found |= {action[kind]["path"] for kind in ("add", "remove") if kind in action}
    except (OSError, ValueError) as error:
        raise OfflineStoreError(f"The log of the table {folder.name} cannot be read: {error}.") from error
    return found
