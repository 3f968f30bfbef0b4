"""Erasure from the monitor's database: what messages, signals and decisions may hold of a key.

No key is meant to be in any of them. Examples of rows that were wrong may be: they stand as objects that name the join
keys, by themselves or under ``keys``. An object in a list leaves the list; one that stands alone becomes null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, update

from featurestore.config import Config
from featurestore.erasure import Erased, Place, Task
from featurestore.offline.erasure.erased_keys import ErasedKeys, plain_text
from monitor import schema
from monitor.history import History

#: Columns of JSON in which rows may be told of.
_TOLD = (
    (schema.outbox, "payload"),
    (schema.alerts, "finding"),
    (schema.alerts, "about"),
    (schema.timeline, "details"),
    (schema.signals, "payload"),
    (schema.signal_events, "payload"),
    (schema.actions, "details"),
    (schema.windows, "decision"),
    (schema.detectors, "state"),
    (schema.checks, "findings"),
)
_SQLITE = "sqlite:///"


def places(config: Config) -> list[Place]:
    """Return the monitor's places, for the entry point ``featurestore.erasers``."""
    return [MonitorRecords(config)]


class MonitorRecords:
    """The outbox, signals, decisions and detectors of the monitor, and of those of rehearsals.

    Args:
        config: says where the databases lie.
    """

    name = "monitor's records"

    def __init__(self, config: Config) -> None:
        self._config = config

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        total = Erased()
        for url in self._databases():
            with History(url) as history:
                total += _erased(history, task)
        return total

    def _databases(self) -> Iterator[str]:
        rehearsals = self._config.path("data/replays")
        configs = [self._config, *(self._config.for_replay(one.name) for one in sorted(rehearsals.glob("*/")))]
        for config in configs:
            url = config.database_url(config.monitor.database)
            # Opening one makes it.
            if not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE)).exists():
                yield url


def _erased(history: History, task: Task) -> Erased:
    found = 0
    with history.read() if task.dry_run else history.write() as connection:
        for table, column in _TOLD:
            found += _erased_from(connection, table, column, task)
    if found and not task.dry_run:
        history.forget()
    return Erased(rows=found, files=int(found > 0))


def _erased_from(connection: Connection, table: Table, column: str, task: Task) -> int:
    keys = list(table.primary_key.columns)
    total = 0
    for row in connection.execute(select(*keys, table.c[column])).all():
        told = json.loads(row[-1])
        rest, found = without(told, task.keys)
        total += found
        if found and not task.dry_run:
            mine = [key == value for key, value in zip(keys, row[:-1], strict=True)]
            connection.execute(update(table).where(*mine).values({column: json.dumps(rest)}))
    return total


def without(told: Any, keys: ErasedKeys) -> tuple[Any, int]:
    """Return JSON values without the objects that are of one of the keys, and how many these were."""
    if isinstance(told, list):
        kept, total = [], 0
        for one in told:
            rest, found = without(one, keys)
            total += found
            if not _is_theirs(one, keys):
                kept.append(rest)
        return kept, total
    if not isinstance(told, dict):
        return told, 0
    if _is_theirs(told, keys):
        return None, 1
    parts = {name: without(value, keys) for name, value in told.items()}
    return {name: rest for name, (rest, _) in parts.items()}, sum(found for _, found in parts.values())


def _is_theirs(told: Any, keys: ErasedKeys) -> bool:
    if not isinstance(told, dict):
        return False
    inner = told.get("keys")
    named = inner if isinstance(inner, dict) else told
    return all(name in named for name in keys.names) and (
        tuple(plain_text(named[name]) for name in keys.names) in keys.rows
    )
