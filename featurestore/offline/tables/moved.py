"""Which loads came into a table or left it between two versions, and so whose keys may have other newest rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurestore.definitions import FeatureView
from featurestore.definitions.names import LOAD_ID
from featurestore.offline.engine import identifier, literal, parquet_scan
from featurestore.offline.tables.delta_log import Commit, added_files
from featurestore.offline.tables.newest import KEYS, grouped, is_key
from featurestore.offline.tables.table import OfflineTable

#: Changes after which rows may be online that are in the table no more.
TAKES_ROWS = ("restore", "backfill", "supersede", "gc")


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Loads that came or went, and the files that have or had their rows."""

    loads: tuple[str, ...]
    files: tuple[str, ...]


def moved(table: OfflineTable, since: int, version: int) -> Moved | None:
    """Return the loads that came into a table or left it after one version and up to another.

    Args:
        table: the table.
        since: the one version.
        version: the other.

    Returns:
        None if rows of other loads may be others too, as a backfill or the like wrote them anew; or if that cannot be
        told any more, as files are gone.
    """
    every = [one for one in table.commits() if one.version <= version]
    later = [one for one in every if one.version > since]
    restored = [one.change.details for one in later if one.change is not None and one.change.action == "restore"]
    # A restore may bring back what a load's rows were before they were written anew.
    start = min([since, *(details["to_version"] for details in restored)])
    for one in every:
        change = None if one.version <= start or one.change is None else one.change.action
        if change in TAKES_ROWS and change != "restore":
            return None
    loads = touched(later)
    now = {one.name for one in table.snapshot(version).files}
    before = {one.name for one in table.snapshot(since).files}
    names = (before | set(added_files(table.path, since, version))) - (before & now)
    files = [table.path / one for one in sorted(names)]
    if not all(one.exists() for one in files):
        return None
    return Moved(loads=tuple(sorted(loads)), files=tuple(map(str, files)))


def touched(commits: Sequence[Commit]) -> set[str]:
    """Return the loads that commits brought in or took out."""
    found: set[str] = set()
    for one in commits:
        if one.load is not None:
            found.update((one.load.load_id, *one.load.carried))
        if one.change is not None:
            found.update((*one.change.details.get("withdrawn", ()), *one.change.details.get("reinstated", ())))
    return found


def keys_of(view: FeatureView, found: Moved) -> str:
    """Return a statement that makes the table of keys: each of the loads' rows once, if it can be one."""
    names = ", ".join(f"{grouped(identifier(key), dtype)} AS {identifier(key)}" for key, dtype in view.keys.items())
    if not found.files or not found.loads:
        typed = ", ".join(f"NULL::{dtype.duckdb} AS {identifier(key)}" for key, dtype in view.keys.items())
        return f"CREATE TEMP TABLE {KEYS} AS SELECT {typed} WHERE false"
    keyed = " AND ".join(is_key(identifier(key), dtype) for key, dtype in view.keys.items())
    return (
        f"CREATE TEMP TABLE {KEYS} AS SELECT DISTINCT {names} FROM {parquet_scan(list(found.files))} "
        f"WHERE {LOAD_ID} IN ({', '.join(map(literal, found.loads))}) AND {keyed}"
    )
