"""A store copied to another place, whichever backends are on the two sides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.engine import make_url

from featurestore.config import Config
from featurestore.errors import ConfigError, OnlineStoreError, closest
from featurestore.moving import online
from featurestore.moving.databases import MovedDatabase, check_destination, copy_database, databases_of, measure
from featurestore.moving.files import CopiedFiles, FileSet, check_target, copy_files, same_place
from featurestore.moving.journal import Journal
from featurestore.moving.places import FILE_PARTS, file_sets
from featurestore.moving.point import Point, complete_ledger, take_point
from featurestore.moving.pushes import PART as PUSHES
from featurestore.moving.pushes import PushCopy
from featurestore.moving.pushes import check_target as check_pushes
from featurestore.moving.report import Measure, MoveReport, PartReport, State
from featurestore.offline.places import spill_folder
from featurestore.offline.store import OfflineStore
from featurestore.pushing import PushLog
from featurestore.registry import Registry, open_registry, schema
from featurestore.serving.folder_lock import rewriting
from featurestore.serving.log_files import is_merged_of, reached_by, service_folders

#: Called with the part that is being copied, and how many files or rows more of it are done now.
Progress = Callable[[str, int], object]

#: So often the files are gone through while others change some; then it is too restless to be copied.
_ROUNDS = 5


def _silent(what: str, count: int) -> None: ...


@dataclass(kw_only=True)
class Move:
    """A copy of one store to another place.

    Attributes:
        source: the configuration of the store.
        target: that of the destination.
        names: how both are called in messages.
        only: the parts to copy; all when empty.
        keys: whether the secrets that the store made itself go along.
        rebuilds: whether online rows are made at the destination.
        still: whether nobody writes to the source, and nothing is written there: it is a backup.
        journal: the file of the destination that says what is done.
        whose: what the source is known by, where it is no store that has a name of its own.
        progress: see :data:`Progress`.
        online: the tables whose rows are to be online; those that are in the source's online store when not given.
    """

    source: Config
    target: Config
    names: tuple[str, str]
    only: Collection[str] = ()
    keys: bool = True
    rebuilds: bool = True
    still: bool = False
    journal: Path | None = None
    whose: str = ""
    progress: Progress = _silent
    online: list[str] | None = None

    def check(self) -> MoveReport:
        """Return what would be copied, and change nothing.

        Raises:
            ConfigError: the destination holds other data, or is the store itself, or there is nothing to copy.
        """
        self._check_settings()
        journal = self._journal_file()
        with ExitStack() as held:
            known = held.enter_context(Journal(journal)) if journal.exists() else None
            if known is not None:
                self._check_owner(known)
            databases = self._databases()
            point = take_point(self.source, [one for one, _ in databases], None, held)
            sets, heads = list(self._sets(point)), _heads(point.snapshots["registry"])
            parts = [self._planned(one, other, point, known) for one, other in databases if self._wants(one.part)]
            if self._wants(PUSHES):
                waiting = PushLog(self._push_folders()[0])
                rows = waiting.backlog().rows if waiting.begun() else 0
                stays = self._pushes_stay()
                if not stays:
                    check_pushes(*self._push_folders(), known)
                parts.append(_plan(PUSHES, "rows", Measure(items=rows), stays=stays))
            for one in sets:
                if not one.stays:
                    check_target(one, known)
                parts.append(replace(_plan(one.part, "files", one.here, stays=one.stays), note=one.note))
            if self._wants(online.PART) and self.rebuilds:
                with self._registry(self.source) as registry:
                    stays = online.same_store(self.source, self.target)
                    names = self._online_names(registry)
                    if not stays:
                        online.check_target(self.target, registry, OfflineStore(self.source, registry))
                    plan = _plan(online.PART, "views", Measure(items=len(names)), stays=stays)
                    parts.append(replace(plan, note="made from the tables"))
        if not self.only and all(one.state is State.stays for one in parts):
            raise ConfigError(
                f"{self.names[0]} and {self.names[1]} are the same store: no part of it lies elsewhere.",
                hint="Name a file with the places of the destination.",
            )
        return MoveReport(
            source=self.names[0], destination=self.names[1], parts=tuple(parts), notes=self._notes(heads), check=True
        )

    def run(self, *, watch: bool = True) -> MoveReport:
        """Copy, and compare; go on where an earlier run was killed.

        Args:
            watch: whether to look what was written to the source since the point.

        Raises:
            ConfigError: the destination holds other data, or there is nothing to copy.
            OfflineStoreError: a file cannot be copied; what is copied stays, and the next run goes on.
            OnlineStoreError: the destination's online store refuses; as that.
        """
        self.check()
        with ExitStack() as opened:
            journal = opened.enter_context(Journal(self._journal_file()))
            self._check_owner(journal)
            if not self.still:
                with self._registry(self.source) as registry:
                    complete_ledger(OfflineStore(self.source, registry), registry)
            self._say_owner(journal)
            copied = self._copied(journal)
            parts = copied.parts
            if self.rebuilds and self._wants(online.PART):
                parts = (*parts, self._online(journal))
                if copied.pushes is not None:
                    copied.pushes.remove_gone()
            changed = tuple(self._changes(copied)) if watch else ()
            if changed:
                parts = tuple(_since(one) if one.part == online.PART else one for one in parts)
            else:
                journal.finish()
        return MoveReport(
            source=self.names[0],
            destination=self.names[1],
            point=copied.point.at.isoformat(),
            held_seconds=round(copied.point.held_seconds, 4),
            rounds=copied.rounds,
            parts=parts,
            changed=changed,
            notes=self._notes(copied.heads),
        )

    def is_finished(self) -> bool:
        """Return whether this very source was copied to the end before."""
        file = self._journal_file()
        if not file.exists():
            return False
        with Journal(file) as journal:
            self._check_owner(journal)
            return journal.finished

    def _copied(self, journal: Journal) -> _Copied:
        before: dict[str, int] = {}
        databases = self._databases()
        for number in range(1, _ROUNDS + 1):
            pushes = self._push_copy(journal)
            parts: dict[str, PartReport] = {}
            with ExitStack() as held, self._merging_nothing():
                point = take_point(self.source, [one for one, _ in databases], pushes, held)
                sets, heads = list(self._sets(point)), _heads(point.snapshots["registry"])
                for one, other in databases:
                    if self._wants(one.part):
                        parts[one.part] = self._copy_database(one, other, point, journal)
                held.close()  # before the files: a snapshot that is held for hours is a burden to its server
                if self._wants(PUSHES):
                    stays = PartReport(part=PUSHES, unit="rows", state=State.stays)
                    parts[PUSHES] = stays if pushes is None else pushes.finish()
                    if pushes is not None and not self._settles_online():
                        pushes.remove_gone()
                done = [self._copy_files(one, journal) for one in sorted(sets, key=lambda one: one.part != "feedback")]
            for files, copy in done:
                parts[files.part] = PartReport(part=files.part, unit="files", state=State.stays)
                if copy is not None:
                    parts[files.part] = copy.report(before.get(files.part, 0))
                    before[files.part] = before.get(files.part, 0) + copy.count
            if not any(copy is not None and copy.changed for _, copy in done):
                return _Copied(tuple(parts.values()), point, number, sets, pushes, heads)
        restless = sorted({f"{files.part}/{name}" for files, copy in done if copy for name in copy.changed})
        raise ConfigError(
            f"Files of the store changed each of the {_ROUNDS} times that they were copied: {', '.join(restless[:3])}.",
            hint="Something rewrites them all the time: an erasure, gc, or a retry of the quarantine. Run the same "
            "command again when it has ended; what is copied is not copied again.",
        )

    def _copy_database(self, one: MovedDatabase, other: MovedDatabase, point: Point, journal: Journal) -> PartReport:
        if one.url == other.url:
            return PartReport(part=one.part, unit="rows", state=State.stays)
        if one.part not in point.snapshots:
            return PartReport(part=one.part, unit="rows", state=State.nothing)
        connection = point.snapshots[one.part]
        report = copy_database(connection, other, measure(connection, one.tables), journal)
        self.progress(one.part, report.copied)
        return report

    def _copy_files(self, files: FileSet, journal: Journal) -> tuple[FileSet, CopiedFiles | None]:
        if files.stays:
            return files, None
        done = copy_files(files, journal, spill_folder(self.target), partial(self.progress, files.part))
        return files, done

    def _online(self, journal: Journal) -> PartReport:
        if online.same_store(self.source, self.target):
            return PartReport(part=online.PART, unit="rows", state=State.stays)
        source = self.source if self.online is None else None
        with self._registry(self.source) as registry:
            names, behind = self._online_names(registry), {}
            try:
                if source is not None:
                    behind = online.behind(source, registry, OfflineStore(source, registry), names)
            except OnlineStoreError:  # it may be for this that the store moves
                source = None
        written = online.rebuild(self.target, names, lambda done, _: self.progress(online.PART, done))
        # What readers of the tables enter in the registry there, as its writer had been killed, is ours too.
        theirs = databases_of(self.target)[0]
        opened = theirs.open(theirs.url)
        try:
            with opened.read() as connection:
                journal.writing(theirs.part, measure(connection, theirs.tables).digest)
        finally:
            opened.close()
        with self._registry(self.target) as registry:
            return online.compare(source, self.target, registry, names, behind, written)

    def _settles_online(self) -> bool:
        """Return whether rows are online at the destination that a run has put there, or will."""
        return self.rebuilds and not online.same_store(self.source, self.target)

    def _online_names(self, registry: Registry) -> list[str]:
        return online.tables_online(self.source, registry) if self.online is None else self.online

    def _databases(self) -> list[tuple[MovedDatabase, MovedDatabase]]:
        return list(zip(databases_of(self.source), databases_of(self.target), strict=True))

    def _sets(self, point: Point) -> Iterator[FileSet]:
        connection = point.snapshots["registry"]
        for one in file_sets(self.source, self.target, connection, point.versions, keys=self.keys):
            if self._wants(one.part):
                yield one

    @contextmanager
    def _merging_nothing(self) -> Iterator[None]:
        """Let nobody merge files of what was served, predicted and observed while they are copied; writers go on."""
        serving = self.source.serving
        log, feedback = self.source.path(serving.log_path), self.source.path(serving.feedback_path)
        with ExitStack() as held:
            for one in () if self.still else (*service_folders(log), *sorted(feedback.glob("*/*/"))):
                held.enter_context(rewriting(one, wait=True))
            yield

    def _push_copy(self, journal: Journal) -> PushCopy | None:
        if not self._wants(PUSHES) or self._pushes_stay():
            return None
        return PushCopy(*self._push_folders(), journal)

    def _push_folders(self) -> tuple[Path, Path]:
        return self.source.path(self.source.push.path), self.target.path(self.target.push.path)

    def _pushes_stay(self) -> bool:
        return same_place(*self._push_folders())

    def _planned(self, one: MovedDatabase, other: MovedDatabase, point: Point, journal: Journal | None) -> PartReport:
        if one.url == other.url or one.part not in point.snapshots:
            state = State.stays if one.url == other.url else State.nothing
            return PartReport(part=one.part, unit="rows", state=state)
        here = measure(point.snapshots[one.part], one.tables)
        there = check_destination(other, journal, here)
        state = State.present if there.digest == here.digest else State.planned
        return PartReport(part=one.part, unit="rows", state=state, here=here, there=there)

    def _changes(self, copied: _Copied) -> Iterator[str]:
        """Yield what was written to the source since the point, or was being written then."""
        for name in copied.point.under_way:
            yield f"a load of {name}, which was under way"
        databases = self._databases()
        with ExitStack() as held:
            now = take_point(self.source, [one for one, _ in databases], None, held)
            for project, count in _heads(now.snapshots["registry"]).items():
                if more := count - copied.heads.get(project, 0):
                    yield f'{more:,} entries more in the audit log of project "{project}"'
            for one, _ in databases[1:]:
                there = next((part.here for part in copied.parts if part.part == one.part), Measure())
                asked = one.part in now.snapshots and there.digest
                if asked and measure(now.snapshots[one.part], one.tables).digest != there.digest:
                    yield f"the {one.part}'s database"
            for name, version in now.versions.items():
                if (more := version - copied.point.versions.get(name, -1)) > 0:
                    yield f"{more:,} commits more to the table {name}"
            before = {files.part: files for files in copied.sets}
            for files in self._sets(now):
                known = {(one.name, one.size, one.stamp) for one in before[files.part].files}
                reached = reached_by(one.name for one in before[files.part].files)
                # How far a worker of the server has come is written each second, and says nothing of what there is.
                rows = [one for one in files.files if one.content is None]
                more = sum(
                    (one.name, one.size, one.stamp) not in known and not is_merged_of(one.name, reached) for one in rows
                )
                if more and files.part != "tables" and not files.stays:
                    yield f"{more:,} files of {files.part}"
        if copied.pushes is not None and copied.pushes.has_changed():
            yield "the log of pushed rows"

    @contextmanager
    def _registry(self, config: Config) -> Iterator[Registry]:
        with open_registry(config.database_url(config.registry), config.project) as registry:
            yield registry

    def _wants(self, part: str) -> bool:
        return not self.only or part in self.only

    def _check_settings(self) -> None:
        known = [*(one.part for one in databases_of(self.source)), PUSHES, *FILE_PARTS, online.PART]
        for part in self.only:
            if part not in known:
                raise ConfigError(f'A store has no part "{part}".', hint=closest(part, known, most=len(known)))
        if self.source.project != self.target.project:
            raise ConfigError(
                f'The destination is of project "{self.target.project}", and the store of "{self.source.project}".',
                hint="Write the same project into both files.",
            )

    def _journal_file(self) -> Path:
        if self.journal is not None:
            return self.journal
        said = json.dumps([make_url(self.target.registry).render_as_string(), self.target.offline.path])
        return self.target.path(f"data/migrations/{hashlib.sha256(said.encode()).hexdigest()[:16]}.jsonl")

    def _owner(self) -> str:
        url = make_url(self.source.database_url(self.source.registry)).render_as_string()
        return self.whose or f"{url} and {self.source.root / self.source.offline.path}"

    def _check_owner(self, journal: Journal) -> None:
        if journal.owner not in ("", self._owner()):
            raise ConfigError(
                f"The destination is a copy of another store: {journal.owner}.",
                hint=f"Name another destination. What is known of this one is in {journal.file}.",
            )

    def _say_owner(self, journal: Journal) -> None:
        if not journal.owner:
            journal.own(self._owner())

    def _notes(self, projects: Iterable[str]) -> tuple[str, ...]:
        notes = []
        replays = self.source.path("data/replays")
        if replays.is_dir() and any(replays.iterdir()):
            notes.append("rehearsals (data/replays) are not copied: hold them again")
        others = sorted(set(projects) - {self.source.project})
        if others:
            notes.append(
                f"the registry and the tables are copied with those of {', '.join(others)}; pushed rows, logs and "
                "online rows of a project are copied by the same command in its folder"
            )
        return tuple(notes)


@dataclass(frozen=True)
class _Copied:
    parts: tuple[PartReport, ...]
    point: Point
    rounds: int
    sets: Sequence[FileSet]
    pushes: PushCopy | None
    heads: dict[str, int]


def _plan(part: str, unit: str, here: Measure, *, stays: bool) -> PartReport:
    state = State.stays if stays else State.planned if here.items else State.nothing
    return PartReport(part=part, unit=unit, state=state, here=here)


def _since(part: PartReport) -> PartReport:
    """Return the report on online rows where the source was written while they were made."""
    if part.equal or part.state not in (State.rebuilt, State.present):
        return part
    return replace(part, apart=(*part.apart, "written since"), note=f"{part.note}; the source was written since")


def _heads(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(schema.projects.c.project, schema.projects.c.audit_sequence)).all()
    return {row.project: row.audit_sequence for row in rows}
