"""All rows of a table, or of none: by SCAN, server by server, a thousand names at a time, as others are served too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from featurestore.online.base import TableStatus, event_time, oldest_order
from featurestore.online.redis.connecting import Command, checked
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.nodes import Nodes, call
from featurestore.online.redis.scripts import LOOK
from featurestore.online.redis.state import State, Table

_NAMES = 1_000


class Looked(NamedTuple):
    """What some rows are: how many, the bytes of their values, the newest event time, and the keys that are too old."""

    rows: int
    size: int
    newest: int | None
    older: list[bytes]


class Scanning:
    """Goes through names.

    Args:
        nodes: the servers.
        layout: names keys.
    """

    def __init__(self, nodes: Nodes, layout: Layout) -> None:
        self._nodes = nodes
        self._layout = layout

    def step(self, table: Table, after: bytes | None, limit: int) -> tuple[list[bytes], bytes | None]:
        """Return keys of the next rows of a table, about so many, and where to go on; None at the end.

        Args:
            table: the table.
            after: where the step before ended; None begins.
            limit: how many names the server looks at, of whatever table.
        """
        number, cursor = (0, b"0") if after is None else _place(after)
        servers = self._nodes.masters()
        keys: list[bytes] = []
        while number < len(servers) and len(keys) < limit:
            server = servers[number]
            (said,) = server.run([self._scan(cursor, table.head + b"*", limit)])
            cursor, names = checked(said, server.address)
            keys += [self._key(name) for name in dict.fromkeys(names)]
            if cursor != b"0":
                return keys, b"%d %b" % (number, cursor)
            number += 1
        return keys, None if number >= len(servers) else b"%d 0" % number

    def keys(self, table: Table) -> Iterator[list[bytes]]:
        """Yield the keys of a table; one may come twice while the server makes its index larger."""
        after: bytes | None = None
        while True:
            found, after = self.step(table, after, _NAMES)
            if found:
                yield found
            if after is None:
                return

    def look(self, table: Table, keys: Sequence[bytes], before: int | None = None) -> Looked:
        """Return what the rows of keys are, and which are older than an instant."""
        least = b"\x00" * 8 if before is None else oldest_order(before)
        by_bucket = self._layout.by_bucket(keys)
        calls = [
            call(LOOK, bucket, [self._layout.heads[bucket] + table.head + keys[place] for place in places], [least])
            for bucket, places in by_bucket.items()
        ]
        rows = size = 0
        newest = b""
        older: list[bytes] = []
        for places, said in zip(by_bucket.values(), self._nodes.run(calls), strict=True):
            rows, size, newest = rows + said[0], size + said[1], max(newest, said[2])
            older += [keys[places[place]] for place in said[3]]
        return Looked(rows, size, event_time(newest) if newest else None, older)

    def status(self, table: Table) -> TableStatus:
        """Return what a table holds."""
        rows = size = 0
        newest: int | None = None
        for keys in self.keys(table):
            found = self.look(table, keys)
            rows, size = rows + found.rows, size + found.size + sum(map(len, keys))
            if found.newest is not None:
                newest = found.newest if newest is None else max(newest, found.newest)
        return TableStatus(rows=rows, bytes=size, generation=table.generation, newest=newest)

    def remove(self, state: State, numbers: Iterable[int] | None = None, *, unfinished: int = 0) -> int:
        """Remove rows of generations that are no more, and return how many.

        Those that somebody is filling have a higher number than the present one, and stay.

        Args:
            state: says which generations are.
            numbers: of the tables; None for all.
            unfinished: a generation that goes too.
        """
        present = {table.number: table.generation for table in state.tables.values()}
        patterns = [b"*.*:*"] if numbers is None else [b"%d.*" % number for number in numbers]
        removed = 0
        for server in self._nodes.masters():
            for pattern in patterns:
                cursor = b"0"
                while True:
                    cursor, names = checked(server.run([self._scan(cursor, pattern, _NAMES)])[0], server.address)
                    gone = [name for name in names if self._is_gone(name, present, state.last, unfinished)]
                    # One by one: a server of a cluster takes names of several slots in one command from nobody.
                    removed += sum(
                        checked(said, server.address) for said in server.run([(b"UNLINK", name) for name in gone])
                    )
                    if cursor == b"0":
                        break
        return removed

    def _is_gone(self, name: bytes, present: dict[int, int], last: int, unfinished: int) -> bool:
        parts = name[len(self._layout.head_of(name)) :].split(b":", 1)[0].split(b".")
        if len(parts) != 2 or not all(part.isdigit() for part in parts):
            return False
        number, generation = int(parts[0]), int(parts[1])
        if number not in present:
            return number <= last
        return generation < present[number] or generation == unfinished

    def _scan(self, cursor: bytes, pattern: bytes, limit: int) -> Command:
        return (b"SCAN", cursor, b"MATCH", self._layout.pattern % pattern, b"COUNT", limit)

    def _key(self, name: bytes) -> bytes:
        rest = name[len(self._layout.head_of(name)) :]
        return rest[rest.index(b":") + 1 :]


def _place(after: bytes) -> tuple[int, bytes]:
    number, cursor = after.split(b" ")
    return int(number), cursor
