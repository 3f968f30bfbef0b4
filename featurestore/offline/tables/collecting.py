"""What of the tables, and of what lies beside them, may be removed; see :mod:`featurestore.settings.retention`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from featurestore.errors import ObjectInUseError
from featurestore.offline.datasets.manifest import MANIFEST, datasets_folder, found_at
from featurestore.offline.opened import Opened
from featurestore.offline.places import spill_folder
from featurestore.offline.tables.delta_log import file_history
from featurestore.offline.tables.garbage import AT_WORK, Garbage, by_age, garbage, older, remove, size_of
from featurestore.offline.tables.pins import pins
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry.erasures import present_name
from featurestore.registry.records import DatasetRecord
from featurestore.storage import StoragePath
from featurestore.storage.places import listed

#: Profiles of so many of a table's newest loads stay: the next load is compared with them.
_PROFILES = 30

_REPLACED, _RETIRED, _DATASET = "replaced", "retired version", "dataset"


class Collecting(Opened):
    """Removal of what nobody needs."""

    def sizes(self, name: str) -> dict[str, int]:
        """Return the bytes on this disk that are of a storage id.

        ``table`` are the files that it holds, ``replaced`` those that it held and what dead processes left, ``history``
        is Delta's log; then ``quarantine`` and ``profiles``.
        """
        table = OfflineTable(self._folder / name)
        held = table.snapshot().size if table.exists() else 0
        log = size_of(table.path / "_delta_log")
        return {
            "table": held,
            "replaced": max(size_of(table.path) - log - held, 0),
            "history": log,
            "quarantine": size_of(self._folder / "quarantine" / name),
            "profiles": size_of(self._folder / "profiles" / name),
        }

    def rows_held(self, name: str) -> int:
        """Return the rows in the table of a storage id, of a version that is live or not."""
        table = OfflineTable(self._folder / name)
        return table.snapshot().rows if table.exists() else 0

    def find_datasets(self, *, now: datetime) -> list[Garbage]:
        """Return the datasets that may go by the rules of ``[retention]``, and those that would if nothing needed them.

        Args:
            now: the instant against which ages are measured.
        """
        return list(self._datasets(now))

    def find_garbage(self, live: Collection[str], *, without: Collection[str] = (), now: datetime) -> list[Garbage]:
        """Return what else may go by the rules of ``[retention]``, and what would if nothing needed it.

        Args:
            live: the storage ids of live versions of views.
            without: datasets that pin nothing, as they will be gone.
            now: the instant against which ages are measured.

        Raises:
            OfflineStoreError: a manifest or a table's log cannot be read.
        """
        pinned = pins(self._config, self._registry, without=without)
        found: list[Garbage] = []
        for name in sorted({*self._registry.loaded(), *live}):
            found += self._of_table(name, name in live, pinned.get(name, {}), now)
            found += self._beside(name, now)
        found += self._leftovers(now)
        return found

    def remove_garbage(self, found: Garbage, *, who: str, reason: str, now: datetime) -> None:
        """Remove what :meth:`find_datasets` and :meth:`find_garbage` found and nothing needs.

        Raises:
            OfflineStoreError: a table refuses.
        """
        old = now - AT_WORK
        if found.kind == _RETIRED:
            self._empty(OfflineTable(self._folder / found.what), who, reason)
            old = now  # no reader of a version that is not live is in the midst of it
        elif found.kind == _REPLACED:
            # A restore may have brought some of them back since they were found.
            held = {one.name for one in OfflineTable(self._folder / found.what).snapshot().files}
            paths = tuple(one for one in found.paths if one.name not in held)
            found = Garbage(kind=found.kind, what=found.what, paths=paths, size=found.size)
        elif found.kind == _DATASET and not self._removed(found.what):
            try:
                self._registry.remove_dataset(found.what, who=who)
            except ObjectInUseError:  # a model was trained on it meanwhile
                return
        remove(found, unless_younger=old)

    def _of_table(self, name: str, live: bool, pinned: Mapping[str, str], now: datetime) -> Iterator[Garbage]:
        table = OfflineTable(self._folder / name)
        there = {one.name: one for one in listed(table.path, "*.parquet")}
        if not table.exists():
            yield from by_age("leftover", name, there.values(), now)
            return
        held = table.snapshot()
        left = self._left(table, held.version)
        current = {one.name for one in held.files}
        retention = self._config.retention
        rest = {file: path for file, path in there.items() if file not in current}
        lost = [path for file, path in rest.items() if file not in left and file not in pinned]
        yield from by_age("leftover", name, lost, now)
        retired = not live and _longer(retention.retired_versions, now - max(one.at for one in table.commits()))
        if retired:
            keeper = next((pinned[file] for file in there if file in pinned), "")
            yield from garbage(_RETIRED, name, there.values() if current else (), keeper)
        if retired and current:
            return  # all of it goes, or nothing
        gone = {file: at for file, at in left.items() if at is not None and _longer(retention.history, now - at)}
        replaced = {file: path for file, path in rest.items() if file in gone}
        for keeper in sorted({pinned.get(file, "") for file in replaced}):
            paths = [path for file, path in replaced.items() if pinned.get(file, "") == keeper]
            yield from by_age(_REPLACED, name, paths, now, keeper)

    def _left(self, table: OfflineTable, newest: int) -> dict[str, datetime | None]:
        """Return when each file of a table's history left it; what an erasure wrote anew is as old as what it was."""
        left = file_history(table.path, newest)
        rewritten = self._registry.rewritten_files(table.path.name)
        for name, at in list(left.items()):
            present, _ = present_name(name, rewritten)
            if present is not None:
                left.setdefault(present, at)
        return left

    def _beside(self, name: str, now: datetime) -> Iterator[Garbage]:
        retention = self._config.retention
        for kind, folder, kept, newest in (
            ("quarantine", "quarantine", retention.quarantine, 0),
            ("profile", "profiles", retention.profiles, _PROFILES),
        ):
            if kept is not None:
                files = sorted(listed(self._folder / folder / name, "[!.]*"), key=lambda one: one.stat().st_mtime)
                yield from garbage(kind, name, older(files[: len(files) - newest], now - kept))

    def _datasets(self, now: datetime) -> Iterator[Garbage]:
        kept = self._config.retention.datasets
        records = self._registry.datasets(removed=True)
        folders = {one.id: found_at(one.manifest["path"], self._config).parent for one in records}
        needed = self._needed(records)
        for one in records:
            folder = folders[one.id]
            same = any(folders[other.id] == folder and other.removed_at is None for other in records if other != one)
            paths = [folder] if folder.exists() and not same else []
            if one.removed_at is not None:  # by a run that was killed before it removed the rows
                yield from garbage(_DATASET, one.id, paths)
            elif _longer(kept, now - one.created_at):
                keeper = needed.get(one.id, "")
                size = sum(map(size_of, paths))
                yield Garbage(kind=_DATASET, what=one.id, paths=tuple(paths), size=size, kept_by=keeper)

    def _needed(self, records: list[DatasetRecord]) -> dict[str, str]:
        """Return the datasets that something needs, each with what does."""
        # Without a model, the monitor compares with the newest dataset of the service version.
        newest = {one.manifest["service"]: one.id for one in records if one.removed_at is None}
        needed = {dataset: f"the monitoring of {service}" for service, dataset in newest.items()}
        return needed | {model.dataset: f"model {model.id}" for model in self._registry.models()}

    def _leftovers(self, now: datetime) -> Iterator[Garbage]:
        places = ("quarantine/*/.*", "profiles/*/.*")
        found = [path for place in places for path in listed(self._folder, place)]
        found += listed(spill_folder(self._config), "*")
        found += listed(datasets_folder(self._config), "*/.*")
        if not isinstance(self._folder, Path):
            found += listed(self._folder, "*/.*.touched")  # by a restore that was killed
            # What was being uploaded has its name already, and is no dataset before its manifest is there.
            there = listed(datasets_folder(self._config), "*/*")
            found += [one for one in there if one.name[0] != "." and not (one / MANIFEST).exists()]
        for path in found:
            yield from by_age("leftover", _below(path.parent, self._folder), [path], now)

    def _removed(self, dataset: str) -> bool:
        return self._registry.dataset(dataset).removed_at is not None

    def _empty(self, table: OfflineTable, who: str, reason: str) -> None:
        """Take all rows out of a table; its log stays, so that the version can be fed again."""
        ids: set[str] = set()
        for commit in table.commits():
            if commit.load is not None:
                ids.update((commit.load.load_id, *commit.load.carried))
        leaving = sorted(table.having(ids))
        held = table.snapshot()
        table.rewrite(
            [one.name for one in held.files],
            [],
            action="gc",
            details={"rows": held.rows, "withdrawn": leaving},
            author=who,
            reason=reason or "retired",
            data_change=True,
            leaving=leaving,
            project=self._config.project,
        )


def _below(path: StoragePath, folder: StoragePath) -> str:
    return str(path.relative_to(str(folder))) if path.is_relative_to(str(folder)) else str(path)


def _longer(kept: timedelta | None, age: timedelta) -> bool:
    return kept is not None and age >= kept
