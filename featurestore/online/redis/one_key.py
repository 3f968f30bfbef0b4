"""A read of one key in some tables, which most lookups are: its command is made of pieces that stay the same."""

from __future__ import annotations

from typing import Any, NamedTuple

from featurestore.online.base import ReadOne
from featurestore.online.redis.gets import Known, bulk
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.state import State, number_at

#: What stands around keys of so many buckets and lengths is kept, and made anew beyond.
_MOST_AROUND = 4_096


class OneKeyGet(NamedTuple):
    """A read that is to be sent.

    Attributes:
        command: as it is sent; see :mod:`featurestore.online.redis.gets` for what it asks.
        bucket: that has the key.
        state: by which the rows are named.
    """

    command: bytes
    bucket: int
    state: State

    def take(self, said: Any) -> ReadOne | None:
        """Return what an answer says; None if it is a refusal, or of another state: then the rows have other names."""
        state = self.state
        if said.__class__ is not list or (said[0] or b"") != state.record:
            return None
        # Without the function that names its parts.
        return tuple.__new__(ReadOne, (state.clock, number_at(said[1], 0), said[2:]))


class OneKeyGets:
    """Makes reads of one key in the same tables.

    Args:
        layout: names keys.
        known: the state that names go by.
        tables: storage ids.
    """

    def __init__(self, layout: Layout, known: Known, tables: tuple[str, ...]) -> None:
        self._layout = layout
        self._known = known
        self._tables = tables
        self._state: State | None = None
        #: By bucket and length of the key, what stands around it.
        self._around: dict[tuple[int, int], tuple[bytes, ...]] = {}

    def get(self, key: bytes) -> OneKeyGet | None:
        """Return the read of a key; None if one of the tables was never written, as far as it is known."""
        state = self._known.state
        if state is not self._state:
            self._state, self._around = state, {}
        layout = self._layout
        bucket = layout.bucket(key) if layout.many else 0
        around = self._around.get((bucket, len(key)))
        if around is None:
            tables = [state.tables.get(name) for name in self._tables]
            heads = [table.head for table in tables if table is not None]
            if len(heads) < len(tables):
                return None
            if len(self._around) >= _MOST_AROUND:
                self._around.clear()
            around = self._around[bucket, len(key)] = _around(layout.heads[bucket], heads, len(key))
        return tuple.__new__(OneKeyGet, (key.join(around), bucket, state))


def _around(head: bytes, tables: list[bytes], size: int) -> tuple[bytes, ...]:
    """Return the pieces of an MGET, as it is sent, that stand before, between and behind the copies of a key.

    Args:
        head: of the bucket.
        tables: what the names of each table's rows have between that and the key.
        size: bytes of the key.
    """
    words = [b"MGET", head + b"s", head + b"n"]
    pieces = [b"*%d\r\n" % (len(words) + len(tables)) + b"".join(map(bulk, words))]
    for table in tables:
        front = head + table
        pieces[-1] += b"$%d\r\n%b" % (len(front) + size, front)
        pieces.append(b"\r\n")
    return tuple(pieces)
