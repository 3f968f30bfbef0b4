"""Databases, copied row by row between SQLite and PostgreSQL: the registry's, and those that other packages name.

All rows come from one snapshot of the source, and are there by one transaction: a database is as it was, or whole. What
numbers are given next is copied with them, as a number that was a name is never given again.

The digest of a table is the sum, modulo 2^256, of SHA-256 of its rows: so it does not depend on the order in which a
database gives them, and no database has to sort by another one's rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Table, delete, insert, inspect, select, text

from featurestore.config import Config
from featurestore.database import Database
from featurestore.errors import ConfigError
from featurestore.moving.journal import Journal
from featurestore.moving.report import Measure, PartReport, State, digest_of
from featurestore.registry import schema
from featurestore.registry.migrating import open_database

#: Where packages name the databases that belong to a store.
GROUP = "featurestore.movers"

_SQLITE = "sqlite:///"
_AT_ONCE = 1_000
_MODULUS = 1 << 256


class OpenedDatabase(Protocol):
    """A database of this release's schema."""

    @property
    def name(self) -> str:
        """Its URL without a password."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """Open a transaction that sees one snapshot."""
        ...

    def write(self) -> AbstractContextManager[Connection]:
        """Open a transaction that writes."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True, kw_only=True)
class MovedDatabase:
    """A database that belongs to a store. A package names its own by a function of its configuration.

    Attributes:
        part: its name: ``registry``.
        url: where it is, a path of SQLite absolute.
        open: opens it, and makes or migrates its tables.
        tables: what is copied, in an order in which they may be filled; facts about running processes are not.
        made_with: tables that have rows when a database is made.
    """

    part: str
    url: str
    open: Callable[[str], OpenedDatabase]
    tables: Sequence[Table]
    made_with: frozenset[str] = frozenset()

    @property
    def exists(self) -> bool:
        """Whether there may be one: opening a file of SQLite would make it."""
        return not self.url.startswith(_SQLITE) or Path(self.url.removeprefix(_SQLITE)).exists()


def databases_of(config: Config) -> list[MovedDatabase]:
    """Return the databases of a store, the registry first."""
    registry = MovedDatabase(
        part="registry",
        url=config.database_url(config.registry),
        open=open_database,
        tables=schema.metadata.sorted_tables,
    )
    entries = sorted(entry_points(group=GROUP), key=lambda one: one.name)
    return [registry, *(one for entry in entries for one in entry.load()(config))]


def measure(connection: Connection, tables: Sequence[Table]) -> Measure:
    """Return what a database holds, as of the connection's snapshot."""
    counts, lines = {}, {}
    for table in tables:
        rows = _Rows()
        for row in _rows(connection, table):
            rows.add(row)
        counts[table.name], lines[table.name] = rows.count, rows.line
    return _measure(counts, lines, _numbers(connection, tables))


def is_blank(connection: Connection, moved: MovedDatabase) -> bool:
    """Return whether a database holds nothing but what it was made with."""
    asked = [one for one in moved.tables if one.name not in moved.made_with]
    return not any(connection.execute(select(table).limit(1)).first() for table in asked)


def check_destination(moved: MovedDatabase, journal: Journal | None, here: Measure) -> Measure:
    """Return what the destination holds, which is nothing, or the same, or what an earlier run has written.

    Raises:
        ConfigError: it holds something else.
    """
    if not is_made(moved):
        return Measure()
    opened = moved.open(moved.url)
    try:
        with opened.read() as connection:
            there = measure(connection, moved.tables)
            ours = journal is not None and journal.has_written(moved.part, there.digest)
            if there.digest == here.digest or ours:
                return there
            if is_blank(connection, moved):
                return Measure()
        raise ConfigError(
            f"The destination's {moved.part}, {opened.name}, holds other data: {there.items:,} rows.",
            hint="Name an empty database; or empty this one, if nothing in it is needed. Nothing was changed.",
        )
    finally:
        opened.close()


def copy_database(source: Connection, moved: MovedDatabase, here: Measure, journal: Journal) -> PartReport:
    """Put the rows of a snapshot into the destination, unless it has them, and compare.

    Args:
        source: the snapshot.
        moved: the destination.
        here: what the snapshot holds.
        journal: of the destination.

    Raises:
        ConfigError: the destination holds something else.
        RegistryError: it cannot be written; an error of its own for another package's.
    """
    present = check_destination(moved, journal, here)
    if present.digest == here.digest:
        return PartReport(part=moved.part, unit="rows", state=State.present, here=here, there=present)
    opened = moved.open(moved.url)
    try:
        with opened.write() as connection:
            for table in reversed(moved.tables):
                connection.execute(delete(table))
            for table in moved.tables:
                for rows in _in_batches(_rows(source, table)):
                    connection.execute(insert(table), [dict(row._mapping) for row in rows])
            _set_numbers(connection, moved.tables, _numbers(source, moved.tables))
            journal.writing(moved.part, here.digest)
        with opened.read() as connection:
            there = measure(connection, moved.tables)
    finally:
        opened.close()
    return PartReport(part=moved.part, unit="rows", state=State.copied, here=here, there=there, copied=here.items)


def is_made(moved: MovedDatabase) -> bool:
    """Return whether its tables are there; none is made by looking."""
    if not moved.exists:
        return False
    found = Database(moved.url, what=moved.part, error=ConfigError, hint=f"Name the destination's {moved.part}.")
    try:
        with found.read() as connection:
            return any(inspect(connection).has_table(one.name) for one in moved.tables)
    finally:
        found.close()


class _Rows:
    """The rows of a table, counted and summed."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, row: Any) -> None:
        content = json.dumps([one.hex() if isinstance(one, bytes) else one for one in row])
        self.count += 1
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(content.encode()).digest())) % _MODULUS

    @property
    def line(self) -> str:
        return f"{self.count} {self._sum:064x}"


def _measure(counts: dict[str, int], lines: dict[str, str], numbers: dict[str, int]) -> Measure:
    said = lines | {f"numbers of {name}": str(value) for name, value in numbers.items()}
    return Measure(items=sum(counts.values()), digest=digest_of(said), counts=counts)


def _rows(connection: Connection, table: Table) -> Iterator[Any]:
    yield from connection.execute(select(table), execution_options={"yield_per": _AT_ONCE})


def _in_batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    held: list[Any] = []
    for row in rows:
        held.append(row)
        if len(held) == _AT_ONCE:
            yield held
            held = []
    if held:
        yield held


def _numbered(tables: Sequence[Table]) -> Iterator[tuple[str, str]]:
    """Yield the tables whose rows the database numbers, and the column of the numbers."""
    for table in tables:
        keys = list(table.primary_key.columns)
        if len(keys) == 1 and keys[0].autoincrement is True:
            yield table.name, keys[0].name


def _numbers(connection: Connection, tables: Sequence[Table]) -> dict[str, int]:
    """Return the last number that each table has given; 0 where none was."""
    found = {}
    if connection.dialect.name == "sqlite":
        given: dict[str, int] = {}
        if inspect(connection).has_table("sqlite_sequence"):
            given = {row.name: row.seq for row in connection.execute(text("SELECT name, seq FROM sqlite_sequence"))}
        return {name: given.get(name, 0) for name, _ in _numbered(tables)}
    for name, column in _numbered(tables):
        last, is_called = connection.execute(text(f"SELECT last_value, is_called FROM {name}_{column}_seq")).one()  # noqa: S608 - names of our tables
        found[name] = last if is_called else 0
    return found


def _set_numbers(connection: Connection, tables: Sequence[Table], numbers: dict[str, int]) -> None:
    for name, column in _numbered(tables):
        last = numbers[name]
        if connection.dialect.name == "sqlite":
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
            if last:
                insertion = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")
                connection.execute(insertion, {"name": name, "last": last})
        else:
            values = {"sequence": f"{name}_{column}_seq", "last": max(last, 1), "called": last > 0}
            connection.execute(text("SELECT setval(:sequence, :last, :called)"), values)
