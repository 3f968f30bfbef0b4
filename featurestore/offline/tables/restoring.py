"""A table back to what it was: after one of its loads, or at an instant."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from featurestore import types
from featurestore.definitions import FeatureView, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import ObjectNotFoundError, OfflineStoreError, TableConflictError, closest
from featurestore.markup import Printed
from featurestore.offline.opened import Opened
from featurestore.offline.sources.pieces import DELTA, FILES
from featurestore.offline.tables.copying import loads_of, with_loads, without_loads
from featurestore.offline.tables.delta_log import Commit
from featurestore.offline.tables.moved import TAKES_ROWS, touched
from featurestore.offline.tables.sharing import check_ours
from featurestore.offline.tables.snapshots import StagedFile, discard, statistics
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry.erasures import present_names
from featurestore.registry.records import Load
from featurestore.storage import StoragePath
from featurestore.storage.parquet import read_table
from featurestore.storage.places import make_young

_ATTEMPTS = 5
#: What a table may have gone through and still have the rows of every load that is in it.
_KEEPS_ROWS = ("compact", "erase", "restore")


@dataclass(frozen=True, kw_only=True)
class RestoreReport(Printed):
    """What a restore did to a view's rows.

    Attributes:
        view: the view's name.
        to_version: the version of the table whose rows it has again.
        at: when that was.
        withdrawn: loads whose rows are no longer there; each may be ingested again under its id.
        reinstated: loads whose rows are there again.
        rows_before: rows of the table before.
        rows_after: and now.
        seconds: how long it took.
        stayed: loads that came since and are there still.
        online: rows online now; None if the view was never materialized.
        notes: what was left as it is.
        also: what was done to the tables of other live versions of the view.
    """

    view: str
    to_version: int
    at: datetime
    withdrawn: tuple[str, ...]
    reinstated: tuple[str, ...]
    rows_before: int
    rows_after: int
    seconds: float
    stayed: tuple[str, ...] = ()
    online: int | None = None
    notes: tuple[str, ...] = ()
    also: tuple[RestoreReport, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.view}: as it was at {self.at:%Y-%m-%d %H:%M:%S}, {self.rows_after:,} rows"]
        if self.rows_before != self.rows_after:
            parts.append(f"{self.rows_before:,} before")
        if self.withdrawn:
            parts.append(f"{len(self.withdrawn)} load(s) withdrawn")
        if self.reinstated:
            parts.append(f"{len(self.reinstated)} load(s) back")
        if self.stayed:
            parts.append(f"{len(self.stayed)} load(s) since kept")
        if self.online is not None:
            parts.append(f"online {self.online:,} rows")
        return "; ".join([", ".join(parts), *(f"also {other}" for other in self.also)])


class Restoring(Opened):
    """Restore."""

    def find_state(self, view: FeatureView, to: str | datetime) -> Commit:
        """Return the commit that made a view's table what it was after a load, or at an instant.

        Args:
            view: the view.
            to: a load's id, or an instant.

        Raises:
            ObjectNotFoundError: there is no such load, or there were no rows yet.
            TimestampError: a text that is no load's id names an instant without a zone.
        """
        table, loads = self.table(view), self.ledger(view)
        if not loads or not table.exists():
            raise ObjectNotFoundError(
                f'Feature view "{view.name}" was never ingested.', hint=f"featurestore ingest {view.name}"
            )
        version = next((load.table_version for load in loads if load.load_id == to), None)
        if version is None:
            at = _instant(to, view, loads)
            # Not in their order where a clock was set back; then the newest counts that was there already.
            found = [commit for commit in table.commits() if commit.at <= at and (commit.load or commit.change)]
            if not found:
                raise ObjectNotFoundError(
                    f'Feature view "{view.name}" had no rows at {at.isoformat()}.',
                    hint=f"Its first load was published at {loads[0].published_at.isoformat()}.",
                )
            return found[-1]
        return next(table.commits(version - 1))

    def state_before(self, view: FeatureView, at: datetime) -> Commit | None:
        """Return the newest commit of a view's table that was made before an instant; None if there is none."""
        table = self.table(view)
        if not table.exists():
            return None
        found = [commit for commit in table.commits() if commit.at < at and (commit.load or commit.change)]
        return found[-1] if found else None

    def restore(
        self,
        view: FeatureView,
        state: Commit,
        *,
        who: str,
        reason: str = "",
        keep: Callable[[str], bool] = lambda _: False,
        only: Collection[str] | None = None,
    ) -> RestoreReport:
        """Take a view's table back to what one of its commits made it, by a commit of its own.

        The loads that came since are withdrawn: they may be ingested again. Those that were withdrawn since are back.
        A load that lands meanwhile stays.

        Args:
            view: whose table.
            state: what :meth:`find_state` gives.
            who: who does it.
            reason: why; both stand in the commit and in the audit.
            keep: which of the loads that came since stay, by their ids.
            only: the loads that may come back; None for any.

        Raises:
            OfflineStoreError: files of that time are gone, other loads would come back, or the table refuses.
        """
        check_ours(view)
        started = time.monotonic()
        table = self.table(view)
        for attempt in range(_ATTEMPTS):
            try:
                done = self._restore(view, table, state, who, reason, keep, only)
                break
            except TableConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
        known = {load.load_id for load in self.ledger(view)}
        for which in ("withdrawn", "reinstated", "stayed"):  # those that a carried load stands for are no loads here
            done[which] = tuple(one for one in done[which] if one in known)
        return RestoreReport(view=view.name, seconds=time.monotonic() - started, **done)

    def read_again(self, view: FeatureView, load_ids: Collection[str]) -> bool:
        """Return whether an ingest of the view's source may bring some of these loads' rows again, if they are out."""
        loads = (load for _, load in self.table(view).loads_since(None) if load.load_id in load_ids)
        return any(load.location or any(one.startswith((FILES, DELTA)) for one in load.carried) for load in loads)

    def rows_taken(self, view: FeatureView, since: int) -> bool:
        """Return whether rows were taken out of a view's table after a version; some may then still be online."""
        table = self.table(view)
        return table.exists() and any(
            commit.change is not None and commit.change.action in TAKES_ROWS for commit in table.commits(since)
        )

    def _restore(
        self,
        view: FeatureView,
        table: OfflineTable,
        state: Commit,
        who: str,
        reason: str,
        keep: Callable[[str], bool],
        only: Collection[str] | None,
    ) -> dict[str, Any]:
        now = table.snapshot()
        commits = [one for one in table.commits() if one.version <= now.version]
        since = [one for one in commits if one.version > state.version]
        moved = touched(since)
        there, then = table.having(moved, now.version), table.having(moved, state.version)
        staying = {one for one in there - then if keep(one)}
        leaving, entering = sorted(there - then - staying), sorted(then - there)
        # A load that is in before and after may be so by itself the one time, and with what carried it the other.
        own, own_then = _came_by_themselves(commits), _came_by_themselves(commits[: len(commits) - len(since)])
        withdrawn = sorted({*leaving, *(own - own_then - staying)})
        reinstated = sorted({*entering, *(own_then - own)})
        others = set() if only is None else {one.load_id for one in self.ledger(view)} & set(reinstated) - set(only)
        if others:
            raise OfflineStoreError(
                f'With the loads of feature view "{view.name}" others would come back that were withdrawn: '
                f"{', '.join(sorted(others))}.",
                hint=f"Say to which state it is to go: featurestore restore {view.name} --to LOAD",
            )
        rewritten = self._registry.rewritten_files(storage_id(view))
        old = {one.name: one for one in table.snapshot(state.version).files}
        wanted = present_names(old, rewritten)
        present = {one.name: one for one in now.files}
        removed, missing = sorted(present.keys() - wanted), sorted(wanted - present.keys())
        made: list[StagedFile] = []
        try:
            if all(_touch(table.path / name) for name in missing):
                added = [old[name].staged() if name in old else _described(table.path / name) for name in missing]
                mixed = [(name, loads_of(table.path / name)) for name in (removed if staying else ())]
                removed = sorted(set(removed) - {name for name, loads in mixed if loads <= staying})
                made = with_loads(
                    table,
                    [present[name].place for name, loads in mixed if name in removed and loads & staying],
                    staying,
                )
                added += made
            elif not entering and _keeps_rows(since, then):
                made = without_loads(table, [present[name].place for name in removed], leaving)
                added = made
            else:
                raise OfflineStoreError(
                    f'The rows of feature view "{view.name}" as they were at {state.at.isoformat()} are gone.',
                    hint="Files that are no longer needed are removed by featurestore gc; [retention] history says "
                    "after how long.",
                )
            if removed or added or leaving or entering:
                table.rewrite(
                    removed,
                    added,
                    action="restore",
                    details={
                        "to_version": state.version,
                        "to": state.at.isoformat(),
                        "withdrawn": withdrawn,
                        "reinstated": reinstated,
                    },
                    author=who,
                    reason=reason,
                    data_change=True,
                    entering=entering,
                    leaving=leaving,
                    project=self._config.project,
                )
        except BaseException:
            discard(made)
            raise
        self._after_erasure(view, table, added, who, reason)
        return {
            "to_version": state.version,
            "at": state.at,
            "withdrawn": tuple(withdrawn),
            "reinstated": tuple(reinstated),
            "stayed": tuple(sorted(staying)),
            "rows_before": now.rows,
            "rows_after": now.rows - sum(present[name].rows for name in removed) + sum(one.rows for one in added),
        }

    def _after_erasure(
        self, view: FeatureView, table: OfflineTable, added: Sequence[StagedFile], who: str, reason: str
    ) -> None:
        """Put what an erasure wrote anew in the place of files that it took away while they were brought back."""
        lost = [one.path.name for one in added if not one.path.exists()]
        if not lost:
            return
        names = sorted(present_names(lost, self._registry.rewritten_files(storage_id(view))))
        table.rewrite(
            lost,
            [_described(table.path / name) for name in names],
            action="erase",
            details={"files": len(lost)},
            author=who,
            reason=reason,
            data_change=True,
            project=self._config.project,
        )


def _instant(to: str | datetime, view: FeatureView, loads: Sequence[Load]) -> datetime:
    if isinstance(to, str) and not to[:4].isdecimal():
        known = [load.load_id for load in reversed(loads)]
        raise ObjectNotFoundError(
            f'Feature view "{view.name}" has no load "{to}".',
            hint=f"{closest(to, known)} All of them: featurestore loads {view.name}",
        )
    return types.utc(to, "The instant to restore to")


def _came_by_themselves(commits: Sequence[Commit]) -> set[str]:
    """Return the loads that are in a table after commits with rows of their own, not in those of another."""
    found: set[str] = set()
    for one in commits:
        if one.load is not None:
            found.add(one.load.load_id)
        if one.change is not None:
            found.difference_update(one.change.details.get("withdrawn", ()))
            found.update(one.change.details.get("reinstated", ()))
    return found


def _keeps_rows(commits: Sequence[Commit], loads: AbstractSet[str]) -> bool:
    """Return whether a table has the rows of its loads still as they were before some commits."""
    # A load that was taken out and came again under its id may have brought others.
    again = any(one.load is not None and not loads.isdisjoint((one.load.load_id, *one.load.carried)) for one in commits)
    return not again and all(one.change is None or one.change.action in _KEEPS_ROWS for one in commits)


def _touch(file: StoragePath) -> bool:
    """Return whether a file is there, and make it young: ``gc`` leaves alone what somebody has just begun to use."""
    try:
        make_young(file)
    except FileNotFoundError:
        return False
    return True


def _described(file: StoragePath) -> StagedFile:
    instants = read_table(file, columns=[EVENT_TIMESTAMP]).column(EVENT_TIMESTAMP).cast("int64")
    ends = pc.min_max(instants)
    return StagedFile(file, len(instants), statistics(len(instants), ends["min"].as_py(), ends["max"].as_py()))
