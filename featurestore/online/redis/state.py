"""The state record of a store: its tables and its clock, small and seldom changed; every bucket has a copy.

It is 16 hexadecimal digits, the version, and JSON. A copy is written over only by one of a greater version.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from featurestore import formats
from featurestore.errors import OnlineStoreError

FORMAT = 1
_DIGITS = 16
_NUMBER = 8


class Table(NamedTuple):
    """A table: its number, its generation, and milliseconds after their event times for which the server keeps rows."""

    number: int
    generation: int
    keep: int | None = None

    @property
    def head(self) -> bytes:
        """What the names of its rows have between the bucket's head and the key."""
        return b"%d.%d:" % (self.number, self.generation)


@dataclass(frozen=True)
class State:
    """What a record says.

    Attributes:
        version: grows with each change.
        clock: of a rehearsal, microseconds since 1970; None in a live store.
        last: the highest number that a table ever had.
        tables: by storage id.
        others: what a neighbouring release says beside, which stays.
    """

    version: int
    clock: int | None
    last: int
    tables: dict[str, Table]
    others: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def read(record: bytes | None) -> State:
        """Return what a record says; no record says that nothing was ever written.

        Raises:
            OnlineStoreError: a later release wrote it.
        """
        if not record:
            return State(0, None, 0, {})
        values = json.loads(record[_DIGITS:])
        otherwise = "Or materialize into a new store (another prefix)."
        formats.check(values, "The online store", FORMAT, error=OnlineStoreError, otherwise=otherwise)
        tables = {name: Table(*table) for name, table in values.pop("tables").items()}
        return State(int(record[:_DIGITS], 16), values.pop("clock"), values.pop("last"), tables, values)

    @cached_property
    def record(self) -> bytes:
        """The record; empty for that of a store in which nothing was ever written."""
        if not self.version:
            return b""
        own = {"clock": self.clock, "last": self.last, "tables": self.tables}
        values = {"format": FORMAT} | self.others | own
        return b"%016x" % self.version + json.dumps(values, separators=(",", ":"), sort_keys=True).encode()

    def changed(self, *, clock: int | None = None, tables: dict[str, Table] | None = None) -> State:
        """Return the next version, with another clock or other tables."""
        return replace(
            self,
            version=self._next(),
            clock=self.clock if clock is None else clock,
            tables=self.tables if tables is None else tables,
        )

    def with_tables(self, names: Iterable[str]) -> State:
        """Return a state that has tables; this one if it has them."""
        new = [name for name in dict.fromkeys(names) if name not in self.tables]
        if not new:
            return self
        tables = self.tables | {name: Table(self.last + place, 1) for place, name in enumerate(new, 1)}
        return replace(self.changed(tables=tables), last=self.last + len(new))

    def with_table(self, name: str, table: Table) -> State:
        """Return the next version, in which a table is another."""
        return self.changed(tables=self.tables | {name: table})

    def _next(self) -> int:
        # By the clock too: a server that took over without the last version must not give its number to another.
        return max(self.version + 1, time.time_ns() // 1_000_000)

    def empty(self) -> State:
        """Return the next version, without clock and tables; their numbers do not come again."""
        return State(self._next(), None, self.last, {})


def number_at(numbers: bytes | None, place: int) -> int:
    """Return the snapshot (place 0), or that of the last write of the table of a number; 0 where there is none."""
    if numbers is None:
        return 0
    return int.from_bytes(numbers[place * _NUMBER : (place + 1) * _NUMBER], "big")
