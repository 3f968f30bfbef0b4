"""One consistent point of a store at which serving goes on.

Nothing has to stand still. What order makes it consistent:

1. The monitor's database is read as of an instant. It writes down what it is about to do to the registry before it
   does it, so one that is older than the registry is that of a monitor which died at that instant, and goes on.
2. The log of pushed rows is copied, and no push is acknowledged from its end on until step 4 is done: some
   milliseconds.
3. The registry is read as of an instant.
4. Versions of tables are noted, of each the newest that has no load but those that the registry knows: one that is on
   its way was not acknowledged. What was flushed meanwhile is in a table and in the log, and counts once: see
   :mod:`featurestore.moving.pushes`.
5. Files are listed. One that has changed before it is copied makes the copy begin anew, with another point; what is
   there by then is not copied again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from featurestore.config import Config
from featurestore.definitions import FeatureView
from featurestore.errors import ConfigError
from featurestore.moving.databases import MovedDatabase, is_made
from featurestore.moving.places import table_names
from featurestore.moving.pushes import PushCopy
from featurestore.offline.places import offline_folder
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry, schema


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a store was at an instant.

    Attributes:
        at: the instant: what was acknowledged before it is in.
        held_seconds: for how long no push was acknowledged.
        snapshots: of the databases that there are, by part.
        versions: of the tables.
        under_way: tables with a load that was published, and not yet acknowledged.
    """

    at: datetime
    held_seconds: float
    snapshots: dict[str, Connection]
    versions: dict[str, int]
    under_way: tuple[str, ...]


def complete_ledger(offline: OfflineStore, registry: Registry) -> None:
    """Enter what killed writers left out of the ledger: it is in the tables, and belongs to the copy."""
    for one in registry.every_version("feature_view"):
        if isinstance(one.definition, FeatureView):
            offline.ledger(one.definition)


def take_point(config: Config, databases: Sequence[MovedDatabase], pushes: PushCopy | None, held: ExitStack) -> Point:
    """Take a point.

    Args:
        config: the store's.
        databases: its databases, the registry first.
        pushes: copies the log of pushed rows; None leaves it out.
        held: keeps the snapshots open.

    Raises:
        ConfigError: there is no registry.
    """
    registry, *others = databases
    if not is_made(registry):
        raise ConfigError("There is no registry yet, so there is nothing to copy.", hint="featurestore apply")
    snapshots = {one.part: _snapshot(one, held) for one in others if is_made(one)}
    with ExitStack() as pushing:
        if pushes is not None:
            pushes.take(pushing)
        at = datetime.now(UTC)
        snapshots[registry.part] = _snapshot(registry, held)
        newest = _newest_versions(config)
        versions = _acknowledged(config, snapshots[registry.part], newest)
    since = None if pushes is None else pushes.held_since
    return Point(
        at=at,
        held_seconds=0.0 if since is None else time.perf_counter() - since,
        snapshots=snapshots,
        versions=versions,
        under_way=tuple(name for name, version in newest.items() if versions[name] < version),
    )


def _snapshot(database: MovedDatabase, held: ExitStack) -> Connection:
    opened = database.open(database.url)
    held.callback(opened.close)
    connection = held.enter_context(opened.read())
    connection.execute(select(database.tables[0]).limit(1)).all()  # it is as of the first statement
    return connection


def _newest_versions(config: Config) -> dict[str, int]:
    found = {name: OfflineTable(offline_folder(config) / name).version() for name in table_names(config)}
    return {name: version for name, version in found.items() if version is not None}


def _acknowledged(config: Config, connection: Connection, newest: dict[str, int]) -> dict[str, int]:
    """Return the version of each table that has no load but those that the registry knows."""
    table = schema.loads
    rows = connection.execute(select(table.c.storage_id, table.c.load_id, table.c.project)).all()
    mine = {(row.storage_id, row.load_id) for row in rows if row.project == config.project}
    theirs = {row.storage_id for row in rows if row.project != config.project}
    # Other projects enter their loads themselves.
    return {
        name: version if name in theirs else _known(config, name, version, mine) for name, version in newest.items()
    }


def _known(config: Config, name: str, newest: int, ledger: set[tuple[str, str]]) -> int:
    """Return the newest version of a table before the first load that the ledger has not."""
    for commit in OfflineTable(offline_folder(config) / name).commits():
        if commit.version > newest:
            break
        if commit.load is not None and (name, commit.load.load_id) not in ledger:
            return commit.version - 1
    return newest
