"""For how long a server keeps the rows of a table, which of them went as too old, and how far a table is filled."""

from __future__ import annotations

import time

from featurestore.online.base import Expired, Standing, oldest_order
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.nodes import Call, Nodes, call
from featurestore.online.redis.scanning import Scanning
from featurestore.online.redis.scripts import EXPIRED
from featurestore.online.redis.sections import Section, Writing
from featurestore.online.redis.state import State, Table

#: Beyond the longest TTL for which the server keeps a row: within it the answer is OUTSIDE_MAX_AGE, as it is on LMDB
#: until the next upkeep.
GRACE_MS = 3_600_000
#: In the place of how long rows were told to stay: not all of them were.
_TELLING = b"telling"


class Keeping:
    """Has the server remove rows by itself, and tells what it may have removed.

    Args:
        nodes: the servers.
        layout: names keys.
        writing: writes.
        scanning: goes through names.
    """

    def __init__(self, nodes: Nodes, layout: Layout, writing: Writing, scanning: Scanning) -> None:
        self._nodes = nodes
        self._head = layout.heads[0]
        self._writing = writing
        self._scanning = scanning
        #: For how long the rows of a table are to stay, as it was when somebody began to tell them.
        self._telling: dict[str, int | None] = {}

    def standing(self, table: Table) -> Standing:
        """Return how far a table is filled."""
        self._note_removed(table)
        names = (self._head + b"p%d" % table.number, self._head + b"e%d" % table.number)
        ((progress, removed),) = self._nodes.run([Call(0, (b"MGET", *names))])
        if removed is None:
            return Standing(progress, None, 0)
        before, count = map(int, removed.split())
        return Standing(progress, before, count)

    def keep(self, storage_id: str, table: Table, milliseconds: int | None, *, new: bool = False) -> bool:
        """Have rows kept for so long after their event times; return whether all rows were told so.

        Args:
            storage_id: the table's name.
            table: the table.
            milliseconds: how long; None for ever.
            new: whether it has no rows yet.
        """
        wanted = None if milliseconds is None else milliseconds + GRACE_MS
        told = self._head + b"k%d" % table.number
        if table.keep != wanted:
            self._note_removed(table)
            self._nodes.run([Call(0, (b"SET", told, _told(wanted) if new else _TELLING))])

            def kept(now: State) -> State | None:
                present = now.tables.get(storage_id)
                if present is None or present.keep == wanted:
                    return None
                return now.with_table(storage_id, present._replace(keep=wanted))

            self._writing.move(kept)
        (said,) = self._nodes.run([Call(0, (b"GET", told))])
        return bool(said == _told(wanted)) or (said is None and wanted is None)

    def expire(self, storage_id: str, table: Table, before: int, after: bytes | None, limit: int) -> Expired:
        """Do a step of expiry; and tell the rows that stay for how long, if they are to be told."""
        told = self._head + b"k%d" % table.number
        if after is None:
            (said,) = self._nodes.run([Call(0, (b"GET", told))])
            self._telling.pop(storage_id, None)
            if said == _TELLING:
                self._telling[storage_id] = table.keep
        keys, last = self._scanning.step(table, after, limit)
        older = self._scanning.look(table, keys, before).older if keys else []
        wanted = keys if storage_id in self._telling else older
        removed = 0
        if older:  # first, so that it is not forgotten however this ends
            self._expired(table, before, len(older))
        if wanted:
            section = Section(storage_id, "x", wanted, before=oldest_order(before), generation=table.generation)
            removed = self._writing.write([section]).written
        if removed != len(older):
            self._expired(table, before, removed - len(older))
        if last is None and storage_id in self._telling and self._telling.pop(storage_id) == table.keep:
            self._nodes.run([Call(0, (b"SET", told, _told(table.keep)))])
        return Expired(removed, last)

    def _expired(self, table: Table, before: int, rows: int | bytes) -> None:
        self._nodes.run([call(EXPIRED, 0, [self._head + b"e%d" % table.number], [before, rows])])

    def _note_removed(self, table: Table) -> None:
        """Note that the server may have removed rows by itself."""
        if table.keep is not None:
            self._expired(table, time.time_ns() // 1000 - table.keep * 1000, b"some")


def _told(keep: int | None) -> bytes:
    return b"for ever" if keep is None else b"%d" % keep
