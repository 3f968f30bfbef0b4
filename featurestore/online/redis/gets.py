"""What a lookup asks of the servers, and what their answers mean: for those that wait, and those that do not.

One MGET for each bucket has its copy of the state record, the numbers of its snapshots and the rows: all from one
instant. The names of rows have their table's generation in them, as it was known; an answer with another state record
is asked for once more, with that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurestore.online.base import Read
from featurestore.online.redis.connecting import Command
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.state import State, number_at

#: What is asked: tables, and of each keys.
Requests = Sequence[tuple[str, Sequence[bytes | None]]]


class Known:
    """The state record that was read last, and what it says; threads may share it.

    Args:
        many: whether there are many buckets, of which some may be behind.
    """

    def __init__(self, *, many: bool) -> None:
        self.state = State.read(None)
        self._many = many

    def take(self, record: bytes | None) -> State:
        """Return what a bucket's record says; it is known from now on, unless others are ahead of it."""
        known = self.state
        if (record or b"") == known.record:
            return known
        found = State.read(record)
        found.__dict__["record"] = record or b""  # as it is stored, to the byte
        if not self._many or found.version >= known.version:
            self.state = found
        return found


class Gets:
    """One read.

    Args:
        layout: names keys.
        known: the state that names go by.
        requests: what is asked.
    """

    def __init__(self, layout: Layout, known: Known, requests: Requests) -> None:
        self._layout = layout
        self._known = known
        self._requests = requests
        self._values: list[list[bytes | None]] = [[None] * len(keys) for _, keys in requests]
        self._snapshot = 0
        self._writes = [0] * len(requests)
        self._generations = [0] * len(requests)
        self._clock: int | None = None
        #: By bucket, the places of the keys in it: number of the request, and of the key.
        self._places: dict[int, list[tuple[int, int]]] = {}
        if layout.many:
            bucket_of = layout.bucket
            for number, (_, keys) in enumerate(requests):
                for place, key in enumerate(keys):
                    if key is not None:
                        self._places.setdefault(bucket_of(key), []).append((number, place))
        self._state = known.state
        #: Buckets without an answer.
        self.open: list[int] = list(self._places) if self._places else [0]

    def command(self, bucket: int, state: State | None = None) -> Command:
        """Return what is asked of a bucket."""
        head = self._layout.heads[bucket]
        tables = (state or self._state).tables
        names: list[bytes | int] = [b"MGET", head + b"s", head + b"n"]
        if not self._layout.many:
            for name, keys in self._requests:
                table = tables.get(name)
                if table is not None:
                    front = head + table.head
                    names += [front + key for key in keys if key is not None]
            return tuple(names)
        for number, place in self._places.get(bucket, ()):
            name, keys = self._requests[number]
            table = tables.get(name)
            if table is not None:
                names.append(head + table.head + keys[place])  # type: ignore[operator]  # none is None there
        return tuple(names)

    def packed(self) -> bytes:
        """Return what is asked of the only bucket, as it is sent."""
        head, tables = self._layout.heads[0], self._state.tables
        count, parts = 3, [bulk(b"MGET"), bulk(head + b"s"), bulk(head + b"n")]
        for name, keys in self._requests:
            table = tables.get(name)
            if table is not None:
                asked = [key for key in keys if key is not None] if None in keys else keys
                count += len(asked)
                parts.append(_bulks(head + table.head, asked))  # type: ignore[arg-type]  # none is None there
        return b"*%d\r\n%b" % (count, b"".join(parts))

    def take(self, bucket: int, said: list[Any], asked_by: State | None = None) -> State | None:
        """Take a bucket's answer; return the state to ask by once more, or None if that is not needed."""
        state = asked_by or self._state
        record, numbers = said[0], said[1]
        if (record or b"") != state.record:
            return self._known.take(record)
        self._clock = state.clock
        self._snapshot = max(self._snapshot, number_at(numbers, 0))
        at = 2
        if not self._layout.many:
            for number, (name, keys) in enumerate(self._requests):
                table = state.tables.get(name)
                if table is None:
                    continue
                self._generations[number] = table.generation
                self._writes[number] = number_at(numbers, table.number)
                if None not in keys:
                    self._values[number] = said[at : at + len(keys)]
                    at += len(keys)
                    continue
                for place, key in enumerate(keys):
                    if key is not None:
                        self._values[number][place] = said[at]
                        at += 1
            return None
        for number, (name, _) in enumerate(self._requests):
            table = state.tables.get(name)
            if table is not None:
                self._generations[number] = table.generation
                self._writes[number] = max(self._writes[number], number_at(numbers, table.number))
        for number, place in self._places.get(bucket, ()):
            if self._requests[number][0] in state.tables:
                self._values[number][place] = said[at]
                at += 1
        return None

    def result(self) -> Read:
        """Return what was found."""
        return Read(self._clock, self._generations, self._values, self._snapshot, self._writes)


def bulk(word: bytes) -> bytes:
    """Return a word of a command, as it is sent."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _bulks(front: bytes, keys: Sequence[bytes]) -> bytes:
    """Return keys with something in front of each, as they are sent."""
    sizes = set(map(len, keys))
    if len(sizes) == 1:  # as numbers are, and most keys
        begin = b"$%d\r\n%b" % (len(front) + sizes.pop(), front)
        return begin + (b"\r\n" + begin).join(keys) + b"\r\n"
    return b"".join([bulk(front + key) for key in keys])
